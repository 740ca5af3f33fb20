import Tokenizer

/// What a call of `next` brought.
package struct Step {
  package enum Kind: UInt32 {
    case token = 0
    case chunk = 1
    /// Text of the nudger.
    case nudge = 2
  }

  package var kind: Kind
  /// −1 for a chunk and for text of several tokens.
  package var token: Int32
  package var finish: FinishReason
  package var logProbability: Float
  /// Score of the leading row.
  package var value: Double
}

/// From rows to text that will not change any more: behind no possible stop string, in whole code
/// points, and the same in every kept row.
extension Search {
  /// The new text of the last step, with a NUL behind it that does not count.
  package var text: [UInt8] { stepText }

  func tokenStep() -> Step {
    let row = rows[0]
    emit(row, upTo: row.safeLength, isLast: row.state == .finished)
    return Step(
      kind: .token, token: row.tokens[row.count - 1], finish: row.finish,
      logProbability: row.logProbabilities[row.count - 1], value: row.score)
  }

  func chunkStep(isLast: Bool) -> Step {
    let kept = rows[request.rowCount..<request.rowCount + keptCount]
    let best = rows[request.rowCount]
    var common = best.safeLength
    if !isLast {
      for row in kept.dropFirst() {
        var length = emittedLength
        let end = min(common, row.safeLength)
        while length < end, row.bytes[length] == best.bytes[length] { length += 1 }
        common = min(common, length)
      }
    }
    emit(best, upTo: common, isLast: isLast)
    return Step(
      kind: .chunk, token: -1, finish: isLast ? best.finish : .none, logProbability: 0,
      value: best.score)
  }

  private func emit(_ row: Row, upTo end: Int, isLast: Bool) {
    stepText.removeAll(keepingCapacity: true)
    if end > emittedLength {
      assembler.append(row.bytes[emittedLength..<end], to: &stepText)
      emittedLength = end
    }
    if isLast { assembler.flush(to: &stepText) }
    stepText.append(0)
  }
}

extension Search {
  /// The most probable tokens of the last step of a single row, as the request asked.
  package var alternatives:
    (count: Int, tokens: UnsafePointer<Int32>, logProbabilities: UnsafePointer<Float>)
  {
    (topCount, UnsafePointer(topTokens), UnsafePointer(topLogProbabilities))
  }
}
