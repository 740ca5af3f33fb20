import GGUF
import Glibc
import Guidance
import Tensor
import TestSupport
import Testing
import Training
import Transformer

/// A folder for one test, and runs on its files.
final class TrainingFolder {
  let path: String
  let model: LanguageModel

  init(_ fixture: String = "tiny-llama.gguf") throws {
    var template = temporaryTemplate("training")
    path = String(cString: mkdtemp(&template))
    model = LanguageModel(try Model(path: Fixtures.path(fixture)))
  }

  deinit { _ = system("rm -rf '\(path)'") }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  func write(_ name: String, _ lines: [String]) -> String {
    let text = lines.map { $0 + "\n" }.joined()
    let stream = fopen(file(name), "w")!
    fputs(text, stream)
    fclose(stream)
    return file(name)
  }

  func bytes(_ name: String) -> [UInt8] {
    let stream = fopen(file(name), "r")!
    defer { fclose(stream) }
    fseek(stream, 0, SEEK_END)
    var bytes = [UInt8](repeating: 0, count: ftell(stream))
    rewind(stream)
    fread(&bytes, 1, bytes.count, stream)
    return bytes
  }

  /// Pairs in which a completion of `a`s is better than one of `b`s.
  func pairs(_ count: Int = 24, _ name: String = "pairs.jsonl") -> String {
    var random = RandomNumbers(seed: 9)
    return write(
      name,
      (0..<count).map { number in
        let prompt = String((0..<4).map { _ in "cdefgh".randomElement(using: &random)! })
        let length = Int.random(in: 3...7, using: &random)
        let chosen = String(repeating: "a", count: length)
        let rejected = String(repeating: "b", count: length + number % 2)
        return """
          {"prompt": "\(prompt) ", "chosen": "\(chosen)", "rejected": "\(rejected)"}
          """
      })
  }

  func rewards(_ count: Int = 40) -> String {
    write(
      "rewards.jsonl",
      (0..<count).map { number in
        let good = number % 2 == 0
        let text = String(repeating: good ? "a" : "b", count: 3 + number % 5)
        return "{\"prompt\": \"cd\", \"completion\": \"\(text)\", \"reward\": \(good ? 1 : 0)}"
      })
  }

  func options(_ objective: Objective, _ data: String) -> TrainerOptions {
    var options = TrainerOptions()
    options.objective = objective
    options.dataPath = data
    options.learningRate = 1e-2
    options.epochs = 6
    options.batchSize = 8
    options.rank = 4
    options.seed = 4
    options.maximumTokens = 64
    return options
  }

  /// Runs to the end.
  func run(_ options: TrainerOptions) throws -> [TrainerReport] {
    try finish(try Trainer(model: model, options: options))
  }

  func finish(_ trainer: Trainer) throws -> [TrainerReport] {
    var reports: [TrainerReport] = []
    while let report = try trainer.next() { reports.append(report) }
    return reports
  }
}

private func train(_ reports: [TrainerReport]) -> [TrainerReport] {
  reports.filter { $0.kind == .train }
}

@Test func supervisedTrainingLearns() throws {
  let folder = try TrainingFolder()
  var options = folder.options(.supervised, folder.pairs())
  options.evaluationFraction = 0.25
  let reports = try folder.run(options)
  let steps = train(reports)
  #expect(steps.count == 18)
  #expect(steps.last!.loss < 0.7 * steps[0].loss)
  let evaluations = reports.filter { $0.kind == .evaluate }
  #expect(evaluations.count == 6)
  #expect(evaluations.last!.loss < evaluations[0].loss)
  #expect(evaluations.last!.divergence > evaluations[0].divergence)
}

/// Oracle 18: the loss at the beginning is log 2, for every variant that is a function of the log-ratio; and
/// its gradient vanishes with β.
@Test func preferenceBeginsAtLogTwo() throws {
  let folder = try TrainingFolder()
  for loss in [LossKind.sigmoid, .robust] {
    var options = folder.options(.preference, folder.pairs())
    options.loss = loss
    options.labelSmoothing = 0.1
    options.maximumSteps = 1
    let first = train(try folder.run(options))[0]
    #expect(abs(first.loss - 0.693147180559945) < 1e-5)
    #expect(abs(first.margin) < 1e-4)
  }
  var norms: [Double] = []
  for beta: Float in [0.1, 0.001, 0.00001] {
    var options = folder.options(.preference, folder.pairs())
    options.beta = beta
    options.maximumSteps = 1
    norms.append(train(try folder.run(options))[0].gradientNorm)
  }
  #expect(norms[1] < 0.011 * norms[0] && norms[2] < 0.011 * norms[1])
}

@Test(arguments: [LossKind.sigmoid, .robust, .identity])
func preferencesAreLearned(_ loss: LossKind) throws {
  let folder = try TrainingFolder()
  var options = folder.options(.preference, folder.pairs(40))
  options.loss = loss
  options.labelSmoothing = loss == .identity ? 0 : 0.05
  options.evaluationFraction = 0.25
  let reports = try folder.run(options)
  #expect(reports[0].kind == .prepare)
  let last = reports.last { $0.kind == .evaluate }!
  #expect(last.accuracy == 1)
  #expect(last.margin > 0.2)
  #expect(last.divergence > 0)
}

@Test(arguments: [true, false])
func rewardsAreLearned(_ headOnly: Bool) throws {
  let folder = try TrainingFolder()
  var options = folder.options(.reward, folder.pairs(40))
  options.trainsHeadOnly = headOnly
  options.evaluationFraction = 0.25
  let reports = try folder.run(options)
  #expect(reports.last { $0.kind == .evaluate }!.accuracy == 1)
  #expect(abs(train(reports)[0].loss - 0.6931) < 1e-3)
}

@Test(arguments: [LossKind.regression, .classification, .expectation])
func valuesAreLearned(_ loss: LossKind) throws {
  for (headOnly, vocabulary) in [(true, false), (true, true), (false, false), (false, true)] {
    let folder = try TrainingFolder()
    var options = folder.options(.value, folder.rewards())
    options.loss = loss
    options.trainsHeadOnly = headOnly
    options.hasVocabularyHead = vocabulary
    options.learningRate = 3e-2
    options.epochs = 10
    options.evaluationFraction = 0.25
    let reports = try folder.run(options)
    let last = reports.last { $0.kind == .evaluate }!
    #expect(
      last.correlation > 0.8, "head only \(headOnly), vocabulary \(vocabulary): \(last)")
  }
}

/// What was trained opens as an ordinary file, and says there what it said here.
@Test func filesOpenAndAgree() throws {
  let folder = try TrainingFolder()
  let trunk = try folder.model.trunk(for: "a test")
  let trainer = try Trainer(
    model: folder.model, options: folder.options(.supervised, folder.pairs()))
  _ = try folder.finish(trainer)
  try trainer.save(path: folder.file("adapter.gguf"))
  _ = try Adapter(path: folder.file("adapter.gguf"), trunk: trunk)
  for vocabulary in [false, true] {
    var options = folder.options(.value, folder.rewards())
    options.hasVocabularyHead = vocabulary
    let trainer = try Trainer(model: folder.model, options: options)
    _ = try folder.finish(trainer)
    try trainer.save(path: folder.file("head.gguf"))
    let head = try ValueHead(path: folder.file("head.gguf"), trunk: trunk)
    #expect(head.kind == (vocabulary ? .vocabulary : .scalar))
    #expect(head.adapter != nil)
  }
}

/// The bytes of the saved file do not depend on threads, memory or interruptions.
@Test func sameBytes() throws {
  for objective in [Objective.supervised, .preference, .reward, .value] {
    let folder = try TrainingFolder("tiny-qwen2.gguf")
    let data = objective == .value ? folder.rewards() : folder.pairs()
    var options = folder.options(objective, data)
    options.epochs = 2
    options.dropout = 0.1
    options.evaluationFraction = 0.2
    options.evaluateEvery = 2
    options.patience = 50
    let trainer = try Trainer(model: folder.model, options: options)
    _ = try folder.finish(trainer)
    try trainer.save(path: folder.file("first.gguf"))
    let expected = folder.bytes("first.gguf")

    options.threadCount = 3
    options.memoryBudget = trainer.memory / 2
    options.checkpointPath = folder.file("state")
    options.checkpointEvery = 2
    var calls = 0
    var memory = 0
    // Dropped after every few calls, resumed from what lies on the disk.
    while true {
      let again: Trainer
      do { again = try Trainer(model: folder.model, options: options) } catch {
        #expect(error.kind == .outOfMemory)
        options.memoryBudget += 1 << 16
        continue
      }
      memory = again.memory
      var isDone = false
      for _ in 0..<5 {
        calls += 1
        if try again.next() == nil {
          isDone = true
          break
        }
      }
      guard isDone else { continue }
      try again.save(path: folder.file("second.gguf"))
      break
    }
    #expect(folder.bytes("second.gguf") == expected, "\(objective)")
    #expect(memory < trainer.memory && calls < 500)
  }
}

@Test func aCheckpointOfAnotherRunIsRefused() throws {
  let folder = try TrainingFolder()
  var options = folder.options(.supervised, folder.pairs())
  options.checkpointPath = folder.file("state")
  options.epochs = 1
  _ = try folder.run(options)
  options.learningRate = 0.5
  let error = #expect(throws: IVGError.self) { try Trainer(model: folder.model, options: options) }
  #expect(error?.kind == .mismatch)
  #expect(error?.message.contains("learning_rate") == true, "\(error?.message ?? "")")
  _ = folder.write("state", ["no checkpoint at all"])
  #expect(throws: IVGError.self) { try Trainer(model: folder.model, options: options) }
  #expect(folder.bytes("state").starts(with: "no checkpoint".utf8))
}

@Test func badLinesAreNamed() throws {
  let folder = try TrainingFolder()
  let path = folder.write(
    "data.jsonl",
    [
      "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}", "{", "",
      "{\"prompt\": \"a\", \"chosen\": \"b\"}",
      "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"b\"}",
    ])
  var options = folder.options(.preference, path)
  let trainer = try Trainer(model: folder.model, options: options)
  #expect(trainer.problems.map(\.line) == [2, 4, 5])
  #expect(trainer.exampleCount == 1)
  options.isStrict = true
  let error = #expect(throws: IVGError.self) { try Trainer(model: folder.model, options: options) }
  #expect(error?.message.contains("line 2") == true)
}

/// A call that is cancelled changes nothing; the run ends with the same bytes.
@Test func cancelledCallsAreRepeated() throws {
  let folder = try TrainingFolder()
  let options = folder.options(.preference, folder.pairs())
  let trainer = try Trainer(model: folder.model, options: options)
  _ = try folder.finish(trainer)
  try trainer.save(path: folder.file("first.gguf"))
  let other = try Trainer(model: folder.model, options: options)
  var calls = 0
  while true {
    calls += 1
    if calls % 3 == 0 {
      other.cancelFlag.raise()
      let error = #expect(throws: IVGError.self) { try other.next() }
      #expect(error?.kind == .cancelled)
    }
    if try other.next() == nil { break }
  }
  try other.save(path: folder.file("second.gguf"))
  #expect(folder.bytes("first.gguf") == folder.bytes("second.gguf"))
}

/// Numbers of a checkpoint that no run could have written are refused, not counted on.
@Test func impossibleCheckpointsAreRefused() throws {
  let folder = try TrainingFolder()
  var options = folder.options(.supervised, folder.pairs())
  options.checkpointPath = folder.file("state")
  options.evaluationFraction = 0.2
  options.patience = 3
  options.maximumSteps = 2
  _ = try folder.run(options)
  for (key, value) in [
    ("training.worse_evaluations", GGUFWriterValue.uint64(UInt64(Int64.max))),
    ("training.step", .uint64(3)), ("training.step", .string("2")),
    ("training.best_loss", .bool(true)), ("training.format", .uint32(2)),
    ("general.type", .string("adapter")),
  ] {
    let good = try GGUFFile(path: folder.file("state"))
    var writer = GGUFWriter()
    writer.set(good.metadata)
    writer.set(key, value)
    for tensor in good.tensors {
      writer.add(tensor.name, type: tensor.type, shape: tensor.shape, data: good.data(tensor))
    }
    try writer.write(to: folder.file("bad"))
    var other = options
    other.checkpointPath = folder.file("bad")
    #expect(throws: IVGError.self, "\(key)") { try Trainer(model: folder.model, options: other) }
  }
  // One bit of a number.
  var bytes = folder.bytes("state")
  bytes[bytes.count - 5] ^= 4
  let stream = fopen(folder.file("bad"), "w")!
  fwrite(bytes, 1, bytes.count, stream)
  fclose(stream)
  var flipped = options
  flipped.checkpointPath = folder.file("bad")
  let damage = #expect(throws: IVGError.self) { try Trainer(model: folder.model, options: flipped) }
  #expect(damage?.message.contains("is damaged") == true, "\(damage?.message ?? "")")
  // A tensor that is missing.
  let good = try GGUFFile(path: folder.file("state"))
  var writer = GGUFWriter()
  writer.set(good.metadata)
  for tensor in good.tensors where tensor.name != "second_moments" {
    writer.add(tensor.name, type: tensor.type, shape: tensor.shape, data: good.data(tensor))
  }
  try writer.write(to: folder.file("bad"))
  options.checkpointPath = folder.file("bad")
  let error = #expect(throws: IVGError.self) { try Trainer(model: folder.model, options: options) }
  #expect(error?.message.contains("second_moments") == true)
}

/// A flag that is raised while a call runs ends that call, in every objective and phase.
@Test func callsEndWhenTheyAreCancelled() throws {
  for (objective, loss, headOnly) in [
    (Objective.supervised, nil, false), (.preference, nil, false), (.reward, nil, true),
    (.value, LossKind.expectation, true), (.value, .expectation, false),
  ] {
    let folder = try TrainingFolder()
    let data = objective == .value ? folder.rewards(400) : folder.pairs(400)
    var options = folder.options(objective, data)
    options.loss = loss
    options.trainsHeadOnly = headOnly
    options.hasVocabularyHead = objective == .value
    options.evaluationPath = data
    options.batchSize = 400
    options.maximumSteps = 1
    let trainer = try Trainer(model: folder.model, options: options)
    var cancelled = 0
    // The delay grows until a whole run passes without being caught.
    for delay in stride(from: UInt32(100), through: 400_000, by: 1500) {
      let timer = Timer(after: delay) { [flag = trainer.cancelFlag] in flag.raise() }
      var isDone = false
      do { while !isDone { isDone = try trainer.next() == nil } } catch {
        #expect(error.kind == .cancelled)
        cancelled += 1
      }
      timer.join()
      _ = trainer.cancelFlag.take()
      if isDone { break }
    }
    #expect(cancelled > 2, "\(objective)")
  }
}
