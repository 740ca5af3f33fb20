extension BytePairModel {
  /// Merges a word of any length in O(n log n): a linked list of tokens, and a heap of the pairs
  /// that may merge, smallest rank first and leftmost among equals.
  func mergeLong(_ bytes: UnsafeRawBufferPointer, into output: inout [Int32]) {
    let count = bytes.count
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: count) { ids in
      withUnsafeTemporaryAllocation(of: Int32.self, capacity: count) { previous in
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: count) { next in
          for position in 0..<count {
            ids[position] = token(ofByte: bytes[position])
            previous[position] = Int32(truncatingIfNeeded: position) - 1
            next[position] = Int32(truncatingIfNeeded: position) + 1
          }
          next[count - 1] = -1
          mergeList(ids: ids, previous: previous, next: next)
          var position: Int32 = 0
          while position >= 0 {
            append(ids[Int(position)], to: &output)
            position = next[Int(position)]
          }
        }
      }
    }
  }

  /// Marks a list entry that has been merged into the one on its left.
  private static var gone: Int32 { -2 }

  /// Merges in the list until no pair merges. `previous` and `next` hold positions, -1 at the ends.
  private func mergeList(
    ids: UnsafeMutableBufferPointer<Int32>, previous: UnsafeMutableBufferPointer<Int32>,
    next: UnsafeMutableBufferPointer<Int32>
  ) {
    var heap = MergeHeap(capacity: ids.count)
    for position in 0..<(ids.count - 1) {
      let merge = merges.merge(ids[position], ids[position + 1])
      if merge.rank != MergeTable.never { heap.appendUnordered(merge.rank, position) }
    }
    heap.order()
    while let (rank, left) = heap.popFirst() {
      // An entry is out of date when either side has merged since: then the pair has another rank,
      // as one rank means one pair.
      guard ids[left] != Self.gone, next[left] >= 0 else { continue }
      let right = Int(next[left])
      let merge = merges.merge(ids[left], ids[right])
      guard merge.rank == rank else { continue }
      ids[left] = merge.merged
      ids[right] = Self.gone
      let after = next[right]
      next[left] = after
      if after >= 0 {
        previous[Int(after)] = Int32(truncatingIfNeeded: left)
        let pair = merges.merge(merge.merged, ids[Int(after)])
        if pair.rank != MergeTable.never { heap.push(pair.rank, left) }
      }
      if previous[left] >= 0 {
        let before = Int(previous[left])
        let pair = merges.merge(ids[before], merge.merged)
        if pair.rank != MergeTable.never { heap.push(pair.rank, before) }
      }
    }
  }
}
