import Guidance
import Tensor
import TestSupport
import Testing
import Tokenizer
import Transformer

/// What a request with nudging gave.
struct NudgedRun {
  var steps: [Step] = []
  /// The text of each step.
  var texts: [[UInt8]] = []
  var candidate: Candidate
  var nudges: Nudges

  var streamed: [UInt8] { texts.flatMap { $0 } }
  var text: [UInt8] { Array(candidate.text.dropLast()) }
  /// For each streamed byte whether a nudge brought it.
  var isNudged: [Bool] {
    zip(steps, texts).flatMap { step, text in text.map { _ in step.kind == .nudge } }
  }
}

extension Session {
  /// Runs a request with nudging to its end, going on where it is cancelled.
  func nudge(_ guidance: Guidance, _ options: GenerateOptions, prompt text: [UInt8]) throws
    -> NudgedRun
  {
    try begin(prompt: text, options: options, guidance: guidance)
    return try finishNudging()
  }

  func finishNudging() throws -> NudgedRun {
    var steps: [Step] = []
    var texts: [[UInt8]] = []
    while true {
      do throws(IVGError) {
        guard let step = try next() else { break }
        steps.append(step)
        texts.append(generation!.text.dropLast())
      } catch { if error.kind != .cancelled { throw error } }
    }
    return NudgedRun(
      steps: steps, texts: texts, candidate: generation!.candidate(0)!,
      nudges: generation!.nudges!)
  }
}

func nudging(
  _ nudger: Guide, threshold: Double = 0.3, burst: Int = 16, rounds: Int = 150
) throws -> Guidance {
  let guidance = Guidance(search: try SearchOptions(width: 1, successors: 1, chunk: 0))
  try guidance.set(
    NudgingOptions(nudger: nudger, threshold: threshold, burst: burst, maximumRounds: rounds))
  return guidance
}

func greedy(_ maximumTokens: Int, _ change: (inout GenerateOptions) -> Void = { _ in })
  -> GenerateOptions
{
  var options = GenerateOptions()
  options.maximumTokens = maximumTokens
  change(&options)
  return options
}

func hex(_ bytes: [UInt8]) -> String { bytes.map { String($0, radix: 16) }.joined(separator: " ") }

func marks(_ flags: [Bool]) -> String { flags.map { $0 ? "n" : "b" }.joined() }

/// Compares with slow nudging: text, who wrote which byte, end, numbers of tokens.
func expectEqual(_ run: NudgedRun, _ slow: SlowOutcome, _ comment: Comment) {
  // What invalid bytes become does not depend on where the text is cut.
  var text: [UInt8] = []
  var isNudged: [Bool] = []
  var position = 0
  while position < slow.text.count {
    var end = position
    while end < slow.text.count, slow.isNudged[end] == slow.isNudged[position] { end += 1 }
    let part = String(decoding: slow.text[position..<end], as: UTF8.self).utf8
    text += part
    isNudged += part.map { _ in slow.isNudged[position] }
    position = end
  }
  #expect(hex(run.streamed) == hex(text), comment)
  #expect(marks(run.isNudged) == marks(isNudged), comment)
  #expect(run.candidate.finish == slow.finish, comment)
  #expect(run.steps.last!.finish == slow.finish, comment)
  #expect(run.steps.dropLast().allSatisfy { $0.finish == .none }, comment)
  #expect(run.candidate.tokens.count == slow.tokenCount, comment)
  let share = slow.tokenCount == 0 ? 0 : Double(slow.nudgedCount) / Double(slow.tokenCount)
  #expect(run.nudges.share == share, comment)
  let stripped = withoutRepeatedEnd(text)
  #expect(hex(run.text) == hex(stripped), comment)
  var marked = [Bool](repeating: false, count: stripped.count)
  for span in run.nudges.spans { for byte in span { marked[byte] = true } }
  #expect(marks(marked) == marks(Array(isNudged.prefix(stripped.count))), comment)
}

@Suite struct NudgingTests {
  let models: Models

  init() throws { models = try Models() }

  /// A pair of base and nudger.
  enum Pair: CaseIterable {
    case tunedByUntuned, adapted, itself, plainByAdapted, otherVocabulary, byOtherVocabulary
  }

  private func guides(_ pair: Pair) -> (base: LanguageModel, nudger: Guide) {
    switch pair {
    case .tunedByUntuned: (models.llama, models.guide(models.untuned))
    case .adapted: (models.llama, models.guide(models.llama, adapter: models.adapter))
    case .itself: (models.llama, models.guide(models.llama, template: "Say: {prompt}"))
    case .plainByAdapted:
      (
        models.untuned,
        models.guide(models.llama, adapter: models.adapter, template: "Q {prompt} A")
      )
    case .otherVocabulary: (models.other, models.guide(models.llama))
    case .byOtherVocabulary: (models.llama, models.guide(models.other))
    }
  }

  private static let pieces = [
    "The", " film", " was", "  ", " a", "\n", " good", ",", ".", " 12", " 你好", "世界", "。", "ก็", "🎬",
    " été",
    "\u{FF}", "x", " and", " the", "'s", "—",
  ]

  private func prompts(_ count: Int, seed: UInt64) -> [[UInt8]] {
    var random = RandomNumbers(seed: seed)
    return (0..<count).map { index in
      index == 0
        ? []
        : (0..<Int.random(in: 1...8, using: &random)).flatMap { _ in
          Array(Self.pieces.randomElement(using: &random)!.utf8)
        }
    }
  }

  /// Text, who wrote which byte of it, the end and the numbers of tokens, for prompts with all kinds of
  /// characters; then with a stop string out of the middle of the text.
  @Test(arguments: Pair.allCases, [1, 2, 5, 16]) func slowTwin(pair: Pair, burst: Int) throws {
    let (base, nudger) = guides(pair)
    let session = try GuidanceTests.session(base)
    var random = RandomNumbers(seed: UInt64(burst))
    for prompt in prompts(2, seed: UInt64(burst) * 31) {
      let baseSide = try SlowSide(models.guide(base), prompt: prompt)
      let nudgerSide = try SlowSide(nudger, prompt: prompt)
      for threshold in [0, 0.02, 0.1, 0.3, 0.6, 0.9, 1.1] {
        for maximum in [7, 40] {
          var slow = SlowNudging(
            base: baseSide, nudger: nudgerSide, threshold: threshold, burst: burst,
            maximumRounds: 20, maximumTokens: maximum)
          let guidance = try nudging(nudger, threshold: threshold, burst: burst, rounds: 20)
          let comment: Comment = "\(pair) \(burst) \(threshold) \(maximum) \(prompt)"
          let run = try session.nudge(guidance, greedy(maximum), prompt: prompt)
          let outcome = try slow.run()
          expectEqual(run, outcome, comment)
          guard outcome.text.count > 3 else { continue }
          let start = Int.random(in: 1..<outcome.text.count - 1, using: &random)
          let end = min(start + Int.random(in: 1...6, using: &random), outcome.text.count)
          slow.stops = [Array(outcome.text[start..<end]), [0x7A, 0x7A]]
          let stopped = try session.nudge(
            guidance, greedy(maximum) { $0.stopStrings = slow.stops }, prompt: prompt)
          let slowStopped = try slow.run()
          expectEqual(stopped, slowStopped, comment)
          #expect(slowStopped.finish == .stop, comment)
        }
      }
    }
  }

  /// The same on real models, where they are: one vocabulary under two prompts, and two vocabularies.
  @Test func slowTwinOfRealModels() throws {
    guard let path = TestSupport.Models.path("Q4_1") else { return }
    let small = LanguageModel(try Model(path: path))
    let chat = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    let prompt = Array("Name three colours of autumn leaves.".utf8)
    let nudger = models.guide(small, template: chat)
    let session = try GuidanceTests.session(small, threads: 2)
    for threshold in [0.3, 0.6] {
      let slow = SlowNudging(
        base: try SlowSide(models.guide(small), prompt: prompt),
        nudger: try SlowSide(nudger, prompt: prompt), threshold: threshold, maximumTokens: 32)
      let run = try session.nudge(
        nudging(nudger, threshold: threshold), greedy(32), prompt: prompt)
      expectEqual(run, try slow.run(), "\(threshold)")
    }
    guard let other = TestSupport.Models.named("Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf") else {
      return
    }
    let large = LanguageModel(try Model(path: other))
    let crossing = SlowNudging(
      base: try SlowSide(models.guide(large), prompt: prompt),
      nudger: try SlowSide(nudger, prompt: prompt), threshold: 0.4, maximumTokens: 24)
    let crossed = try GuidanceTests.session(large).nudge(
      nudging(nudger, threshold: 0.4), greedy(24), prompt: prompt)
    expectEqual(crossed, try crossing.run(), "two vocabularies")
  }

  /// A request that begins like one before takes over what that computed, and says the same.
  @Test func prefixesAreReused() throws {
    let session = try GuidanceTests.session(models.llama)
    let nudger = Script("The film was a b c d", start: 0).model(models.llama.tokenizer)
    let guidance = try nudging(models.guide(nudger), threshold: 0.05, burst: 4)
    let first = try session.nudge(guidance, greedy(30), prompt: prompt)
    #expect(session.generation!.reusedCount == 0)
    let second = try session.nudge(guidance, greedy(30), prompt: prompt)
    #expect(session.generation!.reusedCount == session.generation!.promptTokens.count - 1)
    #expect(first.streamed == second.streamed)
    let plain = try session.run(nil, options(4), prompt: prompt)
    #expect(session.search!.reusedCount > 0)
    #expect(
      plain.tokens
        == (try GuidanceTests.session(models.llama).run(nil, options(4), prompt: prompt)).tokens)
  }

  /// A host's own sequence on the same engine, between steps, changes nothing.
  @Test func sequencesBetweenSteps() throws {
    let session = try GuidanceTests.session(models.llama)
    let guidance = try nudging(models.guide(models.untuned), threshold: 0.05)
    let expected = try session.nudge(guidance, greedy(30), prompt: prompt)
    try session.begin(prompt: prompt, options: greedy(30), guidance: guidance)
    let sequence = try EvaluatedSequence(session: session, adapter: nil)
    var text: [UInt8] = []
    while try session.next() != nil {
      text += session.generation!.text.dropLast()
      try [5, 6, 7].withUnsafeBufferPointer { try sequence.evaluate($0) }
    }
    #expect(text == expected.streamed)
  }
}
