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

  @Test(arguments: Pair.allCases, [1, 2, 5, 16]) func slowTwin(pair: Pair, burst: Int) throws {
    let (base, nudger) = guides(pair)
    let session = try session(base)
    var seen: Set<UInt32> = []
    for prompt in prompts(6, seed: UInt64(burst)) {
      let baseSide = try SlowSide(models.guide(base), prompt: prompt)
      let nudgerSide = try SlowSide(nudger, prompt: prompt)
      for threshold in [0, 0.02, 0.1, 0.3, 0.6, 0.9, 1.1] {
        for maximum in [1, 7, 40] {
          let slow = SlowNudging(
            base: baseSide, nudger: nudgerSide, threshold: threshold, burst: burst,
            maximumRounds: 20, maximumTokens: maximum)
          let guidance = try nudging(nudger, threshold: threshold, burst: burst, rounds: 20)
          let run = try session.nudge(guidance, greedy(maximum), prompt: prompt)
          let outcome = try slow.run()
          expectEqual(run, outcome, "\(pair) \(burst) \(threshold) \(maximum) \(prompt)")
          seen.insert(outcome.finish.rawValue)
        }
      }
    }
    print("\(pair) \(burst): ends \(seen.sorted())")
  }
}
