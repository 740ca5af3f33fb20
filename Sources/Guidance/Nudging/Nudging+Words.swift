import Glibc
import Tensor
import Tokenizer

/// The nudger's part of a round.
extension Nudging {
  /// Draws the draft's next token. A burst that would end within a character takes up to three more.
  ///
  /// Throws `.cancelled`; then nothing has changed.
  func drawDraft() throws(IVGError) {
    let prediction = try nudger.predict(nudger.context(row.bytes[...]) + draft.tokens)
    if prediction.isEnd {
      take(draft, 0..<draft.bytes.count, isNudge: true)
      if row.state == .live { takeEnd(prediction) }
      return finish(.end)
    }
    draft.append(prediction, text: nudger.text(of: prediction))
    if isComplete(draft, limit: left) { stage = .words }
  }

  /// Whether a burst has its tokens, of at most `limit`.
  func isComplete(_ burst: Burst, limit: Int) -> Bool {
    if burst.count >= limit { return true }
    return burst.count >= options.burst && (burst.isWhole || burst.count >= options.burst + 3)
  }

  /// Takes the draft's words up to where the base takes over: always the first; before each further one the
  /// base is asked. All but the last if it never does.
  func takeWords() throws(IVGError) {
    let text = Array(draft.whole)
    // What is left does not suffice for a character.
    if text.isEmpty, draft.count >= left { return finish(.length) }
    let words = Words(text)
    let found = try handOver(words, text)
    let end = found?.position ?? words.breaks.last ?? text.count
    guard !isRepeated(Array(text[..<end])) else { return finish(.repetition) }
    take(draft, 0..<end, isNudge: true)
    guard row.state == .live else { return }
    try settle()
    if let found, !found.prediction.isEnd, left > 0 {
      beginRun(found.prediction, found.context)
    } else {
      beginRound()
    }
  }

  /// A place where the base takes over: its next token there begins the word, or it is sure of it.
  private func handOver(_ words: Words, _ text: [UInt8]) throws(IVGError)
    -> (position: Int, prediction: Prediction, context: [Int32])?
  {
    let places = words.places
    let answer = row.bytes + text
    for first in stride(from: 0, to: places.count, by: NudgingSide.groupLimit) {
      let group = places[first..<min(first + NudgingSide.groupLimit, places.count)]
      var contexts: [[Int32]] = []
      for place in group {
        contexts.append(try base.context(answer[..<(row.bytes.count + place.position)]))
      }
      let predictions = try base.predict(contexts)
      for (index, place) in group.enumerated() {
        let prediction = predictions[index]
        let token = base.text(of: prediction)
        let agrees = !token.isEmpty && place.text.starts(with: token)
        if agrees || isSure(prediction) { return (place.position, prediction, contexts[index]) }
      }
    }
    return nil
  }

  /// Whether the base needs no nudge: top-1 probability ≥ γ.
  func isSure(_ prediction: Prediction) -> Bool {
    exp(prediction.logProbability) >= options.threshold
  }

  /// Takes note of a nudge; true if it is the same a fourth time in a row.
  private func isRepeated(_ nudge: [UInt8]) -> Bool {
    repeats = nudge == lastNudge ? repeats + 1 : 0
    lastNudge = nudge
    return repeats >= 3
  }

  /// What stands far enough from the answer's end is cut into tokens for good.
  func settle() throws(IVGError) {
    try base.settle(row.bytes)
    try nudger.settle(row.bytes)
  }
}
