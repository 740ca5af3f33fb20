import Glibc
import Tensor
import Tokenizer
import Transformer

/// Nudging (arXiv 2410.09300, Algorithm 1; control flow of github.com/fywalter/nudging, `utils.py`): the
/// nudger writes words until the base is sure of how to go on, then the base writes until it is not.
///
///     round:  draft → words → run … run → round …
///
/// `draft` draws up to 16 tokens from the nudger; `words` asks the base about every further word of them
/// in one pass and takes the words before the first that it agrees with or is sure at; `run` is a token of
/// the base. Only the nudger ends the answer. Each of the steps runs a model at most once for one purpose
/// and changes nothing if that is cancelled, so that it may run again.
///
/// Files: this one has the rounds and takes text into the answer; `Nudging+Words` has the nudger's part,
/// `Nudging+Run` the base's; `Nudging+Stream` and `Nudging+Result` say what came of it.
package final class Nudging: Generation {
  enum Stage { case draft, words, run, done }

  /// A piece of the answer, to be reported as a step.
  struct Mark {
    var isNudge: Bool
    /// −1: not a single token of the base.
    var token: Int32
    var logProbability: Float
    /// The piece's bytes in the row.
    var start: Int
    var end: Int
  }

  let request: Request
  let options: NudgingOptions
  let base: NudgingSide
  let nudger: NudgingSide
  /// The answer: the tokens of both sides, each in its own vocabulary, and their text.
  let row: Row
  private let cancel: CancelFlag

  var stage = Stage.draft
  private(set) var rounds = 0
  var draft = Burst()
  var run = Run()
  var lastNudge: [UInt8]?
  var repeats = 0
  private(set) var nudgedCount = 0
  /// The row's bytes that the nudger wrote, in order; neighbours are joined.
  private(set) var nudged: [Range<Int>] = []
  private var failure: IVGError?

  // What steps bring.
  var marks: [Mark] = []
  var stepText: [UInt8] = []
  var assembler = UTF8Assembler()
  var emittedLength = 0

  // Clock, in seconds.
  private let begun: Double
  private var firstTokenAt: Double?
  private var endedAt: Double?

  /// Takes rows and buffers for a planned request with nudging. `engine` gives the engine of a trunk.
  ///
  /// Throws `.outOfMemory`.
  init(
    request: Request, options: NudgingOptions, plan: MemoryPlan, cancel: CancelFlag,
    engine: (Trunk) throws(IVGError) -> Engine
  ) throws(IVGError) {
    self.request = request
    self.options = options
    self.cancel = cancel
    begun = Search.now()
    var sides: [NudgingSide] = []
    for (track, limit) in zip(request.tracks, plan.nudgingLimits) {
      var found: Engine?
      if let trunk = track.trunk { found = try engine(trunk) }
      sides.append(
        try NudgingSide(
          track, request.options, tokenLimit: limit, engine: found, cancel: cancel))
    }
    base = sides[0]
    nudger = sides[1]
    row = Row(
      capacity: request.options.maximumTokens,
      matcher: try StopMatcher(stops: request.options.stopStrings))
    row.state = .live
    stepText.reserveCapacity(1024)
    stepText.append(0)
  }

  /// Tokens that may still come.
  var left: Int { request.options.maximumTokens - row.count }

  package func next() throws(IVGError) -> Step? {
    if let failure { throw failure }
    if cancel.take() { throw IVGError(.cancelled, "cancelled") }
    do {
      if rounds == 0 { beginRound() }
      while marks.isEmpty, stage != .done {
        switch stage {
        case .draft: try drawDraft()
        case .words: try takeWords()
        case .run: try drawRun()
        case .done: break
        }
      }
      return step()
    } catch {
      if error.kind == .cancelled {
        _ = cancel.take()
      } else {
        failure = error
      }
      throw error
    }
  }

  /// The next round, unless there have been enough of them, or of tokens.
  func beginRound() {
    guard row.state == .live else { return }
    if rounds == options.maximumRounds { return finish(.rounds) }
    if left == 0 { return finish(.length) }
    rounds += 1
    draft = Burst()
    stage = .draft
  }

  /// Ends the answer; the last step says so.
  func finish(_ reason: FinishReason) {
    if row.state == .live { row.finish(reason) }
    stage = .done
    endedAt = Search.now()
    if marks.isEmpty {
      let end = row.bytes.count
      marks.append(Mark(isNudge: true, token: -1, logProbability: 0, start: end, end: end))
    }
  }

  /// Adds the bytes `range` of a burst to the answer, with the tokens that begin in it. A stop string may
  /// end it.
  func take(_ burst: Burst, _ range: Range<Int>, isNudge: Bool) {
    if firstTokenAt == nil { firstTokenAt = Search.now() }
    let begin = row.bytes.count
    var sum: Float = 0
    for index in burst.tokens.indices where row.state == .live {
      let start = burst.starts[index]
      guard range.contains(start) else { continue }
      let next = index + 1 < burst.count ? burst.starts[index + 1] : burst.bytes.count
      let before = row.bytes.count
      burst.bytes.withUnsafeBytes {
        row.append(
          burst.tokens[index], logProbability: burst.logProbabilities[index],
          text: UnsafeRawBufferPointer(rebasing: $0[start..<min(next, range.upperBound)]))
      }
      sum += burst.logProbabilities[index]
      if isNudge {
        nudgedCount += 1
      } else {
        marks.append(
          Mark(
            isNudge: false, token: burst.tokens[index],
            logProbability: burst.logProbabilities[index], start: before, end: row.bytes.count))
      }
    }
    if isNudge {
      noteNudge(begin..<row.bytes.count)
      marks.append(
        Mark(isNudge: true, token: -1, logProbability: sum, start: begin, end: row.bytes.count))
    }
    if row.state == .finished { finish(row.finish) }
  }

  /// The nudger's end token: in the answer's tokens, not in its text.
  func takeEnd(_ prediction: Prediction) {
    row.append(
      prediction.token, logProbability: Float(prediction.logProbability),
      text: UnsafeRawBufferPointer(start: nil, count: 0))
    nudgedCount += 1
  }

  private func noteNudge(_ range: Range<Int>) {
    if range.isEmpty { return }
    if let last = nudged.last, last.upperBound == range.lowerBound {
      nudged[nudged.count - 1] = last.lowerBound..<range.upperBound
    } else {
      nudged.append(range)
    }
  }

  package var times: (prompt: Double, generate: Double) {
    guard let first = firstTokenAt else { return (Search.now() - begun, 0) }
    return (first - begun, (endedAt ?? Search.now()) - first)
  }
}
