import Tokenizer

/// One kept row, in buffers of its own.
package struct Candidate {
  package var finish: FinishReason
  package var score: Double
  package var logProbability: Double
  /// Without stop string and end token; invalid bytes as U+FFFD; a NUL behind it does not count.
  package var text: [UInt8]
  package var tokens: [Int32]
  package var logProbabilities: [Float]
  /// [tokens] with attribution, else empty.
  package var baseLogProbabilities: [Float]
  /// [tokens × parts] with attribution, else empty.
  package var guideValues: [Float]
}

/// Reading a request's rows.
extension Search {
  /// Kept rows: after a selection those it kept, best first; of a single row that row.
  package var candidateCount: Int {
    if isSingle { return rows[0].state == .empty ? 0 : 1 }
    return keptCount
  }

  package var finish: FinishReason {
    candidateCount == 0 ? .none : rows[isSingle ? 0 : request.rowCount].finish
  }

  package var nudges: Nudges? { nil }
  package var partCount: Int { request.partCount }
  /// The base's prompt in its own tokens.
  package var promptTokens: [Int32] { tracks[0].prompt }
  package var promptCount: Int { tracks[0].prompt.count }
  package var reusedCount: Int { tracks[0].reusedCount }

  /// Seconds until the first token, and after it.
  package var times: (prompt: Double, generate: Double) {
    guard let first = firstTokenAt else { return (Self.now() - begun, 0) }
    return (first - begun, (endedAt ?? Self.now()) - first)
  }

  /// Kept row `index`, best first; nil past the end.
  package func candidate(_ index: Int) -> Candidate? {
    guard index >= 0, index < candidateCount else { return nil }
    let slot = isSingle ? 0 : request.rowCount + index
    let row = rows[slot]
    var text: [UInt8] = []
    var assembler = UTF8Assembler()
    assembler.append(row.bytes[..<row.shownLength], to: &text)
    if row.state == .finished { assembler.flush(to: &text) }
    text.append(0)
    let logProbabilities = Array(UnsafeBufferPointer(start: row.logProbabilities, count: row.count))
    return Candidate(
      finish: row.finish, score: row.score,
      logProbability: logProbabilities.reduce(0) { $0 + Double($1) }, text: text,
      tokens: Array(UnsafeBufferPointer(start: row.tokens, count: row.count)),
      logProbabilities: logProbabilities, baseLogProbabilities: baseLogProbabilities(slot, row),
      guideValues: guideValues(slot, row))
  }

  private func baseLogProbabilities(_ slot: Int, _ row: Row) -> [Float] {
    guard request.options.keepsAttribution else { return [] }
    let known = tracks[0].states[slot].logProbabilities
    return (0..<row.count).map { $0 < known.count ? Float(known[$0]) : .nan }
  }

  /// The log-ratio of implicit parts, the Q of explicit ones; NaN where it is not in hand.
  private func guideValues(_ slot: Int, _ row: Row) -> [Float] {
    guard request.options.keepsAttribution, partCount > 0 else { return [] }
    var values = [Float](repeating: .nan, count: row.count * partCount)
    for plan in request.implicits {
      let tuned = tracks[plan.tuned]
      let untuned = tracks[plan.untuned]
      guard !tuned.isTextual, !untuned.isTextual else { continue }
      let first = tuned.states[slot].logProbabilities
      let second = untuned.states[slot].logProbabilities
      for token in 0..<min(row.count, first.count, second.count) {
        values[token * partCount + plan.part] = Float(first[token] - second[token])
      }
    }
    for plan in request.explicits where plan.role.contains(.tilt) {
      let known = tracks[plan.track].states[slot].values
      for token in 0..<min(row.count, known.count) {
        values[token * partCount + plan.part] = Float(known[token])
      }
    }
    return values
  }
}
