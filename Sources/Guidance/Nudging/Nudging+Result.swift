import Tensor
import Tokenizer
import Transformer

/// What the nudger wrote of an answer.
package struct Nudges {
  /// Bytes of the candidate's text, in order.
  package var spans: [Range<Int>] = []
  /// Of the answer's tokens.
  package var share = 0.0

  package init(spans: [Range<Int>] = [], share: Double = 0) {
    self.spans = spans
    self.share = share
  }
}

/// Reading the answer.
extension Nudging {
  package var candidateCount: Int { 1 }
  package var finish: FinishReason { row.finish }
  package var partCount: Int { 0 }
  package var promptTokens: [Int32] { base.prompt }
  package var reusedCount: Int { base.reusedCount }
  package var drawnCount: Int { row.count }

  package var alternatives:
    (count: Int, tokens: UnsafePointer<Int32>, logProbabilities: UnsafePointer<Float>)
  { (0, UnsafePointer(row.tokens), UnsafePointer(row.logProbabilities)) }

  package func candidate(_ index: Int) -> Candidate? {
    guard index == 0 else { return nil }
    let logProbabilities = Array(UnsafeBufferPointer(start: row.logProbabilities, count: row.count))
    return Candidate(
      finish: row.finish, score: 0, logProbability: logProbabilities.reduce(0) { $0 + Double($1) },
      text: shown().text + [0],
      tokens: Array(UnsafeBufferPointer(start: row.tokens, count: row.count)),
      logProbabilities: logProbabilities, baseLogProbabilities: [], guideValues: [])
  }

  package var nudges: Nudges? {
    Nudges(
      spans: shown().spans, share: row.count == 0 ? 0 : Double(nudgedCount) / Double(row.count))
  }

  /// The text as whole code points, and what of it the nudger wrote; once it is finished, without a
  /// repeated end.
  private func shown() -> (text: [UInt8], spans: [Range<Int>]) {
    var text: [UInt8] = []
    var spans: [Range<Int>] = []
    var assembler = UTF8Assembler()
    var position = 0
    func add(upTo end: Int) {
      guard end > position else { return }
      assembler.append(row.bytes[position..<end], to: &text)
      position = end
    }
    for range in nudged {
      add(upTo: min(range.lowerBound, row.shownLength))
      let start = text.count
      add(upTo: min(range.upperBound, row.shownLength))
      spans.append(start..<text.count)
    }
    add(upTo: row.shownLength)
    if row.state == .finished {
      let end = text.count
      assembler.flush(to: &text)
      if row.shownLength > 0, isNudged(row.shownLength - 1) { spans.append(end..<text.count) }
      text.removeLast(text.count - RepeatedSuffix.strippedCount(text))
    }
    return (text, Self.joined(spans, count: text.count))
  }

  /// Spans within `count` bytes: no empty ones, and neighbours as one.
  private static func joined(_ spans: [Range<Int>], count: Int) -> [Range<Int>] {
    var joined: [Range<Int>] = []
    for span in spans {
      let part = min(span.lowerBound, count)..<min(span.upperBound, count)
      if part.isEmpty { continue }
      if let last = joined.last, last.upperBound == part.lowerBound {
        joined[joined.count - 1] = last.lowerBound..<part.upperBound
      } else {
        joined.append(part)
      }
    }
    return joined
  }

  // MARK: Prefixes

  /// Nothing is in hand between steps but what was read out of the logits.
  package func forgetLogits(of engine: Engine) {}

  package func reusePrefixes(_ prefixes: PrefixCache) {
    base.reusePrefixes(prefixes)
    nudger.reusePrefixes(prefixes)
  }

  package func keepPrefixes(in prefixes: inout PrefixCache) {
    base.keepPrefixes(in: &prefixes)
    nudger.keepPrefixes(in: &prefixes)
  }
}
