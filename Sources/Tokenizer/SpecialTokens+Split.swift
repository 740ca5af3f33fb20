extension SpecialTokens {
  /// Cuts `text` at the special tokens written in it, in order: `plain` gets the stretches between,
  /// never empty, and `special` the tokens, each with the place where it ends. White space that belongs to a
  /// token by `rules` is part of no stretch.
  ///
  /// Where written tokens overlap, longer ones win, then those further left; what a winner leaves
  /// over may hold shorter ones. O(n · length of the longest special token) at worst.
  func split(
    _ text: UnsafeRawBufferPointer, _ rules: AddedTokenRules,
    plain: (UnsafeRawBufferPointer) -> Void, special: (Int32, _ end: Int) -> Void
  ) {
    var plainStart = 0
    func take(_ match: Match) {
      // The white space of the one before may have reached into it.
      guard match.position >= plainStart else { return }
      var range = match.position..<(match.position + match.length)
      if !rules.isEmpty {
        guard rules.allow(match.token, in: text, at: range) else { return }
        range = rules.extent(of: match.token, in: text, at: range, notBefore: plainStart)
      }
      if plainStart < range.lowerBound {
        plain(UnsafeRawBufferPointer(rebasing: text[plainStart..<range.lowerBound]))
      }
      special(match.token, range.upperBound)
      plainStart = range.upperBound
    }

    var position = 0
    while position < text.count {
      guard mayBegin(with: text[position]),
        let match = longest(in: text, at: position, end: text.count)
      else {
        position += 1
        continue
      }
      if hasLongerMatch(in: text, inside: match) {
        let winners = resolveOverlap(in: text, from: match)
        for winner in winners { take(winner) }
        let end = winners.last.map { $0.position + $0.length } ?? 0
        position = max(plainStart, end, position + 1)
      } else {
        take(match)
        position = max(plainStart, position + match.length)
      }
    }
    if plainStart < text.count { plain(UnsafeRawBufferPointer(rebasing: text[plainStart...])) }
  }

  /// Whether a token that is longer than `match` begins inside it. If none does, nothing takes its
  /// place.
  private func hasLongerMatch(in text: UnsafeRawBufferPointer, inside match: Match) -> Bool {
    for position in (match.position + 1)..<max(match.position + match.length, match.position + 1) {
      guard mayBegin(with: text[position]) else { continue }
      if let other = longest(in: text, at: position, end: text.count), other.length > match.length {
        return true
      }
    }
    return false
  }

  /// The winners of the chain of overlapping tokens that begins with `first`, in the order of the
  /// text.
  private func resolveOverlap(
    in text: UnsafeRawBufferPointer, from first: Match
  ) -> [Match] {
    let start = first.position
    var end = start + first.length
    var candidates: [Match] = []
    var position = start
    while position < end {
      if mayBegin(with: text[position]),
        let match = longest(in: text, at: position, end: text.count)
      {
        candidates.append(match)
        end = max(end, position + match.length)
      }
      position += 1
    }

    var heap = MergeHeap(capacity: candidates.count)
    func key(_ match: Match) -> UInt32 { UInt32(Self.maximumLength - match.length) }
    for match in candidates { heap.appendUnordered(key(match), match.position - start) }
    heap.order()
    var isTaken = [Bool](repeating: false, count: end - start)
    var winners: [Match] = []
    while let (key, offset) = heap.popFirst() {
      guard !isTaken[offset] else { continue }
      let wanted = Self.maximumLength - Int(key)
      var room = 1
      while room < wanted && !isTaken[offset + room] { room += 1 }
      guard
        let match = longest(in: text, at: start + offset, end: start + offset + room)
      else { continue }
      if match.length < wanted {
        // Something longer took part of it; a shorter token may still fit, in its turn.
        heap.push(UInt32(Self.maximumLength - match.length), offset)
        continue
      }
      for index in offset..<(offset + match.length) { isTaken[index] = true }
      winners.append(match)
    }
    winners.sort { $0.position < $1.position }
    return winners
  }
}
