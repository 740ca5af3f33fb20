import Tokenizer

/// From the answer to steps: text that will not change any more, each step of one side alone.
extension Nudging {
  package var text: [UInt8] { stepText }

  /// The step of the next piece; nil if there is none any more. Text that was held back as it might have
  /// become a stop string comes first, in steps of their own where the other side wrote it.
  func step() -> Step? {
    guard let mark = marks.first else { return nil }
    let target = min(mark.end, row.safeLength)
    if emittedLength < min(mark.start, target), isNudged(emittedLength) != mark.isNudge {
      let isNudge = isNudged(emittedLength)
      emit(upTo: min(target, sideEnd(emittedLength)), isLast: false)
      return Step(
        kind: isNudge ? .nudge : .token, token: -1, finish: .none, logProbability: 0, value: 0)
    }
    marks.removeFirst()
    let isLast = marks.isEmpty && row.state == .finished
    // What a stop string left of a character is whose it was.
    let isNudge =
      isLast && target <= emittedLength && target > 0 ? isNudged(target - 1) : mark.isNudge
    emit(upTo: target, isLast: isLast)
    return Step(
      kind: isNudge ? .nudge : .token, token: isNudge ? -1 : mark.token,
      finish: isLast ? row.finish : .none, logProbability: mark.logProbability, value: 0)
  }

  private func emit(upTo end: Int, isLast: Bool) {
    stepText.removeAll(keepingCapacity: true)
    if end > emittedLength {
      assembler.append(row.bytes[emittedLength..<end], to: &stepText)
      emittedLength = end
    }
    if isLast { assembler.flush(to: &stepText) }
    stepText.append(0)
  }

  func isNudged(_ position: Int) -> Bool { nudged.contains { $0.contains(position) } }

  /// Where the text of the side that wrote the byte at `position` ends.
  private func sideEnd(_ position: Int) -> Int {
    for range in nudged where range.upperBound > position {
      return range.contains(position) ? range.upperBound : range.lowerBound
    }
    return row.bytes.count
  }
}
