import GGUF
import Glibc
import Guidance
import Tensor
import Tokenizer
import Transformer

/// Puts the parts of a trainer together: data, parameters, memory.
struct TrainerSetup {
  let options: TrainerOptions
  let trunk: Trunk
  let team: ThreadTeam
  let data: TrainingData
  let evaluationData: TrainingData?
  let split: DataSplit
  let problems: [TrainerProblem]
  let problemCount: Int
  let identity: RunIdentity
  let vector: ParameterVector
  let adapter: TrainableAdapter?
  let head: TrainableHead?
  let startValues: AlignedBuffer<Float>?
  let plan: PassPlan
  let pass: TrainingPass?
  let states: HiddenStates?
  let expectation: Expectation?
  let memory: Int

  /// Tokens that a pass computes together at least, if a step has them.
  private static let usefulRows = 1024

  init(model: LanguageModel, options given: TrainerOptions, cancel: CancelFlag) throws(IVGError) {
    var options = given
    trunk = try model.trunk(for: "training")
    if let path = options.checkpointPath { try AtomicFile.prepare(path: path) }
    let start = try StartFile(path: given.startPath, trunk: trunk, options: &options)
    (data, evaluationData) = try Self.openData(model, trunk, options)
    split = try DataSplit(
      count: data.count, fraction: options.evaluationFraction, seed: options.seed)
    let files = [data, evaluationData].compactMap { $0 }
    problems = files.enumerated().flatMap { index, file in
      file.file.problems.map {
        TrainerProblem(isEvaluation: index > 0, line: $0.line, reason: $0.reason)
      }
    }
    problemCount = files.reduce(0) { $0 + $1.file.problemCount }
    try Self.checkData(files, problems, problemCount, options)
    identity = RunIdentity(
      options: options, trunk: trunk, data: data.file, evaluation: evaluationData?.file,
      start: start?.file)

    // Parameters: the adapter's, then the head's.
    let shape = TrainableAdapter.Shape(
      projections: options.projections, rank: options.rank,
      alpha: options.alpha ?? 2 * Float(options.rank))
    let kind = options.hasVocabularyHead ? ValueHead.Kind.vocabulary : .scalar
    let adapterCount = options.hasAdapter ? shape.count(trunk) : 0
    let count = adapterCount + (options.hasHead ? TrainableHead.count(kind, trunk) : 0)
    let hasLogits = options.objective == .supervised || options.objective == .preference
    let copies = (options.patience == nil ? 0 : 1) + (start != nil && hasLogits ? 1 : 0)
    let vectorBytes = ParameterVector.bytes(count: count) + copies * 4 * count

    let longest = files.map(\.longestSequence).max() ?? 0
    let rows = max(files.map(\.longestExample).max() ?? 0, Self.usefulRows)
    let planned = PassPlan(
      trunk: trunk, rows: rows, wanted: rows, longest: longest,
      rank: options.hasAdapter ? shape.rank : 0, workers: options.threadCount,
      hasLogits: hasLogits, hasDropout: options.dropout > 0)
    let needsExpectation =
      hasLogits
      ? evaluationData != nil || split.evaluationCount > 0
      : options.loss == .expectation && options.hasVocabularyHead
    let other =
      vectorBytes
      + (options.hasAdapter
        ? 0
        : HiddenStates.bytes(
          trunk: trunk, workers: options.threadCount, rows: rows, longest: longest))
      + (needsExpectation
        ? Expectation.bytes(width: trunk.outputSize, workers: options.threadCount, capacity: rows)
          + rows * trunk.configuration.hiddenSize * 4
        : 0)
    plan = try Self.plan(planned, besides: other, options)
    memory = other + (options.hasAdapter ? plan.bytes : 0)

    team = try ThreadTeam(threadCount: options.threadCount)
    vector = try ParameterVector(count: count)
    adapter =
      options.hasAdapter
      ? TrainableAdapter(shape: shape, trunk: trunk, vector: vector, offset: 0) : nil
    adapter?.initialize(seed: options.seed)
    head =
      options.hasHead
      ? TrainableHead(kind: kind, trunk: trunk, vector: vector, offset: adapterCount) : nil
    try start?.load(into: adapter, head)
    startValues = try start != nil && hasLogits ? Self.copy(vector) : nil
    pass = try options.hasAdapter ? TrainingPass(plan: plan, team: team, adapter: adapter) : nil
    states =
      try options.hasAdapter
      ? nil
      : HiddenStates(
        trunk: trunk, team: team, rows: rows, longest: longest, options: options,
        folder: Self.temporaryFolder(options))
    expectation =
      try needsExpectation
      ? Expectation(like: trunk.output, capacity: rows, team: team, cancel: cancel) : nil
    self.options = options
  }

  private static func openData(
    _ model: LanguageModel, _ trunk: Trunk, _ options: TrainerOptions
  ) throws(IVGError) -> (TrainingData, TrainingData?) {
    let maximum = options.maximumTokens ?? min(512, trunk.configuration.contextLength)
    guard maximum <= trunk.configuration.contextLength else {
      throw IVGError(
        .invalidArgument,
        "max_tokens is \(maximum); the model's context is \(trunk.configuration.contextLength)")
    }
    if let prompt = options.maximumPromptTokens, prompt >= maximum {
      throw IVGError(
        .invalidArgument, "max_prompt_tokens is \(prompt), must be below max_tokens, \(maximum)")
    }
    let encoder = try ExampleEncoder(
      tokenizer: model.tokenizer,
      options: EncodingOptions(
        promptTemplate: options.promptTemplate, maximumLength: maximum,
        maximumPromptLength: options.maximumPromptTokens, appendsEnd: options.appendsEnd))
    let layout: DataLayout =
      switch options.objective {
      case .supervised: .completion
      case .preference, .reward: .preference
      case .value: .rewarded
      }
    let template: Result<ChatTemplate, IVGError>
    do { template = .success(try ChatTemplate(file: trunk.file, tokenizer: model.tokenizer)) } catch
    {
      template = .failure(error)
    }
    let reader = ExampleReader(layout: layout, chatTemplate: template)
    let open = { (path: String, isEvaluation: Bool) throws(IVGError) in
      try TrainingData(
        path: path, reader: reader, encoder: encoder, isEvaluation: isEvaluation,
        needsShare: options.loss == .classification)
    }
    let data = try open(options.dataPath, false)
    guard let path = options.evaluationPath else { return (data, nil) }
    return (data, try open(path, true))
  }

  private static func checkData(
    _ files: [TrainingData], _ problems: [TrainerProblem], _ problemCount: Int,
    _ options: TrainerOptions
  ) throws(IVGError) {
    if options.isStrict, let first = problems.first {
      let path = first.isEvaluation ? options.evaluationPath ?? "" : options.dataPath
      throw IVGError(
        .invalidArgument,
        "\(path): line \(first.line): \(first.reason)"
          + (problemCount > 1 ? "; \(problemCount - 1) more lines cannot be used" : ""))
    }
    for file in files where file.count == 0 {
      let reason = file.file.problems.first.map { "; line \($0.line): \($0.reason)" } ?? ""
      throw IVGError(.invalidArgument, "\(file.file.path): no line can be used\(reason)")
    }
  }

  /// The plan that fits the budget. Throws `.outOfMemory` naming the bytes needed.
  private static func plan(_ plan: PassPlan, besides other: Int, _ options: TrainerOptions)
    throws(IVGError) -> PassPlan
  {
    let needed = other + (options.hasAdapter ? plan.bytes : 0)
    guard needed <= options.memoryBudget else {
      throw IVGError(
        .outOfMemory,
        "training needs \(needed) bytes; the memory budget is \(options.memoryBudget)")
    }
    guard options.hasAdapter else { return plan }
    return plan.fitted(to: options.memoryBudget - other) ?? plan
  }

  private static func copy(_ vector: ParameterVector) throws(IVGError) -> AlignedBuffer<Float> {
    let copy = try AlignedBuffer<Float>(count: vector.count)
    copy.pointer.update(from: vector.values.pointer, count: vector.count)
    return copy
  }

  /// Where hidden states go: beside the checkpoint, else where temporary files go.
  private static func temporaryFolder(_ options: TrainerOptions) -> String {
    if let path = options.checkpointPath {
      guard let slash = path.lastIndex(of: "/") else { return "." }
      return String(path[...slash])
    }
    return getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
  }
}
