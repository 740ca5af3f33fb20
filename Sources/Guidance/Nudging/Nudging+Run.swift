import Glibc
import Tensor
import Tokenizer

/// The base's part of a round.
extension Nudging {
  /// The base's run of tokens, in bursts as the reference draws them; the text is cut into tokens anew for
  /// each.
  ///
  /// Two kinds of repetition end a run without the burst at hand (`complete_with_base` in the reference):
  /// a whole burst that the run already holds, be it only drawn to look; and more than five words that the
  /// answer already holds.
  struct Run {
    /// Tokens before the burst.
    var context: [Int32] = []
    var burst = Burst()
    /// Tokens that the burst may have, as the answer's bound allows.
    var limit = 0
    /// Tokens at the beginning that stay whatever follows: the one with which the base took over.
    var headCount = 0
    /// Tokens that stay, once the base was not sure.
    var cut: Int?
    /// Bytes of the burst that are in the answer.
    var taken = 0
    /// The answer before the burst, with the burst's head; and where the run begins in it.
    var before: [UInt8] = []
    var start = 0

    /// Where the burst so far stands in `before` for the first time, as far as it does.
    var place: Int? = 0

    /// What the run holds before the burst, with the head.
    var said: ArraySlice<UInt8> { before[start...] }
    var headLength: Int { headCount < burst.count ? burst.starts[headCount] : burst.bytes.count }
    /// Whole characters behind the head.
    var completion: ArraySlice<UInt8> {
      burst.bytes[headLength..<max(headLength, burst.wholeLength)]
    }
  }

  /// Begins a run with the token by which the base took over behind `context`.
  func beginRun(_ prediction: Prediction, _ context: [Int32]) {
    run = Run()
    run.start = row.bytes.count
    run.headCount = 1
    run.burst.append(prediction, text: base.text(of: prediction))
    beginBurst(context)
    if run.burst.isWhole { takeRun(upTo: run.headLength) }
  }

  private func beginBurst(_ context: [Int32]) {
    run.context = context
    run.limit = left
    run.before = row.bytes + run.burst.bytes
    run.place = run.before.startIndex
    stage = .run
  }

  /// Draws the run's next token, or judges the burst if it is complete.
  ///
  /// Throws `.cancelled`; then nothing has changed.
  func drawRun() throws(IVGError) {
    if isComplete(run.burst, limit: run.limit) { return try judge(hasEnded: false) }
    let prediction = try base.predict(run.context + run.burst.tokens)
    if prediction.isEnd { return try judge(hasEnded: true) }
    if run.cut == nil, !isSure(prediction) { run.cut = run.burst.count }
    // Without a token that stays nothing is to be judged; else the burst may still prove to be a repetition.
    if run.cut == run.headCount { return try endRun() }
    run.burst.append(prediction, text: base.text(of: prediction))
    if run.cut != nil {
      if !isHeld { try endRun() }
      return
    }
    // What the answer does not hold by now cannot become a repetition.
    if let place = run.place {
      run.place = position(of: run.completion, in: run.before[place...])
    }
    if run.place == nil, run.burst.isWhole { takeRun(upTo: run.burst.bytes.count) }
  }

  /// Whether the run holds the burst already. One that the answer's bound shortens says nothing.
  private var isHeld: Bool {
    run.limit >= options.burst && position(of: run.completion, in: run.said) != nil
  }

  /// The burst is complete, or an end token follows it.
  private func judge(hasEnded: Bool) throws(IVGError) {
    if run.burst.count > run.headCount, isHeld {
      takeRun(upTo: run.burst.prefix(run.headCount).wholeLength)
      return beginRound()
    }
    if run.cut != nil || hasEnded { return try endRun() }
    let count = row.count
    guard try takeKept(), row.state == .live, row.count > count || run.taken > 0, left > 0 else {
      return beginRound()
    }
    run.burst = Burst()
    run.headCount = 0
    run.taken = 0
    beginBurst(try base.context(row.bytes[...]))
  }

  /// Takes what stays of the last burst; the nudger is next.
  private func endRun() throws(IVGError) {
    _ = try takeKept()
    beginRound()
  }

  /// Takes the tokens that stay, unless they are many words that the answer holds: then only the head, and
  /// false.
  private func takeKept() throws(IVGError) -> Bool {
    let kept = run.burst.prefix(run.cut ?? run.burst.count)
    let end = kept.wholeLength
    let words = kept.bytes[min(run.headLength, end)..<end]
    let isRepetition =
      Words(Array(words), keepsLeading: true).count > 5
      && position(of: words, in: run.before[...]) != nil
    takeRun(upTo: isRepetition ? run.burst.prefix(run.headCount).wholeLength : end)
    if row.state == .live { try settle() }
    return !isRepetition
  }

  private func takeRun(upTo end: Int) {
    guard end > run.taken, row.state == .live else { return }
    take(run.burst, run.taken..<end, isNudge: false)
    run.taken = end
  }

  /// Where `part` stands in `text` for the first time; an empty one stands everywhere.
  private func position(of part: ArraySlice<UInt8>, in text: ArraySlice<UInt8>) -> Int? {
    let found: Int? = text.withUnsafeBytes { text in
      part.withUnsafeBytes { part in
        guard let first = part.first else { return 0 }
        guard let base = text.baseAddress, part.count <= text.count else { return nil }
        let last = text.count - part.count
        var place = 0
        while place <= last {
          guard let next = memchr(base + place, Int32(first), last + 1 - place) else { return nil }
          place = UnsafeRawPointer(next) - base
          if memcmp(next, part.baseAddress!, part.count) == 0 { return place }
          place += 1
        }
        return nil
      }
    }
    return found.map { text.startIndex + $0 }
  }
}
