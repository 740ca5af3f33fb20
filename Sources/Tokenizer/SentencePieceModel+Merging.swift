extension SentencePieceModel {
  /// Merges a stretch of at most `shortStretch` characters: always looks for the best pair among
  /// all.
  func mergeShort(
    _ text: UnsafeRawBufferPointer, _ characters: Int, into output: inout [Int32]
  ) {
    // Symbol `n` is bytes starts[n] ..< starts[n + 1]; ranks[n] is that of symbols n and n + 1
    // together.
    withUnsafeTemporaryAllocation(of: Int.self, capacity: characters + 1) { starts in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: characters) { ranks in
        var count = fill(starts, text)
        func bytes(_ first: Int, _ end: Int) -> UnsafeRawBufferPointer {
          UnsafeRawBufferPointer(rebasing: text[starts[first]..<starts[end]])
        }
        for symbol in 0..<(count - 1) { ranks[symbol] = rank(bytes(symbol, symbol + 2)) }
        while count > 1 {
          var best = 0
          for symbol in 1..<(count - 1) where ranks[symbol] < ranks[best] { best = symbol }
          guard ranks[best] != MergeTable.never else { break }
          count -= 1
          for symbol in (best + 1)..<(count + 1) { starts[symbol] = starts[symbol + 1] }
          for symbol in best..<max(count - 1, best) { ranks[symbol] = ranks[symbol + 1] }
          if best > 0 { ranks[best - 1] = rank(bytes(best - 1, best + 1)) }
          if best + 1 < count { ranks[best] = rank(bytes(best, best + 2)) }
        }
        for symbol in 0..<count { append(bytes(symbol, symbol + 1), to: &output) }
      }
    }
  }

  /// Where each character of `text` begins, and the end; returns how many characters there are.
  private func fill(_ starts: UnsafeMutableBufferPointer<Int>, _ text: UnsafeRawBufferPointer)
    -> Int
  {
    var count = 0
    var position = 0
    while position < text.count {
      starts[count] = position
      count += 1
      position += CharacterPairs.character(in: text, at: position).length
    }
    starts[count] = position
    return count
  }

  /// Merges a stretch of any length in O(n log n): a linked list of symbols, and a heap of the
  /// pairs that may merge, best first and leftmost among equals.
  func mergeLong(
    _ text: UnsafeRawBufferPointer, _ characters: Int, into output: inout [Int32]
  ) {
    withUnsafeTemporaryAllocation(of: Link.self, capacity: characters) { links in
      var position = 0
      for symbol in 0..<characters {
        let length = CharacterPairs.character(in: text, at: position).length
        links[symbol] = Link(
          start: Int32(truncatingIfNeeded: position), length: Int32(truncatingIfNeeded: length),
          previous: Int32(truncatingIfNeeded: symbol - 1),
          next: symbol + 1 < characters ? Int32(truncatingIfNeeded: symbol + 1) : -1)
        position += length
      }
      mergeList(text, links)
      var symbol = 0
      while symbol >= 0 {
        append(links[symbol].bytes(of: text), to: &output)
        symbol = Int(links[symbol].next)
      }
    }
  }

  /// A symbol of a long stretch.
  private struct Link: BitwiseCopyable {
    var start: Int32
    /// Zero once it has been merged into the one on its left.
    var length: Int32
    /// Neighbours, -1 at the ends.
    var previous: Int32
    var next: Int32

    func bytes(of text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
      UnsafeRawBufferPointer(rebasing: text[Int(start)..<Int(start + length)])
    }
  }

  /// Merges until no pair does.
  private func mergeList(
    _ text: UnsafeRawBufferPointer, _ links: UnsafeMutableBufferPointer<Link>
  ) {
    /// How early the symbol at `left` and its right neighbour merge.
    func pairRank(_ left: Int) -> UInt32 {
      guard links[left].next >= 0 else { return MergeTable.never }
      let start = Int(links[left].start)
      let count = Int(links[left].length) + Int(links[Int(links[left].next)].length)
      return rank(UnsafeRawBufferPointer(rebasing: text[start..<(start + count)]))
    }
    var heap = MergeHeap(capacity: links.count)
    for left in 0..<(links.count - 1) {
      let rank = pairRank(left)
      if rank != MergeTable.never { heap.appendUnordered(rank, left) }
    }
    heap.order()
    while let (rank, left) = heap.popFirst() {
      // An entry is out of date when either side has merged since. Should the pair that is there
      // now have the same rank, then its own entry would come next.
      guard links[left].length > 0, pairRank(left) == rank else { continue }
      let right = Int(links[left].next)
      links[left].length += links[right].length
      links[right].length = 0
      links[left].next = links[right].next
      if links[left].next >= 0 {
        links[Int(links[left].next)].previous = Int32(truncatingIfNeeded: left)
        let rank = pairRank(left)
        if rank != MergeTable.never { heap.push(rank, left) }
      }
      if links[left].previous >= 0 {
        let before = Int(links[left].previous)
        let rank = pairRank(before)
        if rank != MergeTable.never { heap.push(rank, before) }
      }
    }
  }
}
