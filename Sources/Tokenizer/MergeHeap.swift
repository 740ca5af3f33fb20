/// The pairs of a long word that may merge: a binary heap, smallest rank first, leftmost among
/// equals.
///
/// Threads: one owner.
struct MergeHeap {
  /// Rank in the high half, position in the low half.
  private var keys: [UInt64] = []

  /// An empty heap with room for `capacity` pairs.
  init(capacity: Int) {
    keys.reserveCapacity(capacity)
  }

  /// Adds a pair without keeping the order; `order()` must follow.
  @inline(__always)
  mutating func appendUnordered(_ rank: UInt32, _ position: Int) {
    keys.append(UInt64(rank) << 32 | UInt64(UInt32(truncatingIfNeeded: position)))
  }

  /// Makes a heap of what `appendUnordered` has added, in linear time.
  mutating func order() {
    keys.withUnsafeMutableBufferPointer { keys in
      var index = keys.count / 2
      while index > 0 {
        index -= 1
        Self.sink(keys, from: index)
      }
    }
  }

  /// Adds a pair.
  mutating func push(_ rank: UInt32, _ position: Int) {
    appendUnordered(rank, position)
    keys.withUnsafeMutableBufferPointer { keys in
      var index = keys.count - 1
      let key = keys[index]
      while index > 0 {
        let parent = (index - 1) / 2
        if keys[parent] <= key { break }
        keys[index] = keys[parent]
        index = parent
      }
      keys[index] = key
    }
  }

  /// Takes out the pair that merges first; nil when none is left.
  mutating func popFirst() -> (rank: UInt32, position: Int)? {
    guard let first = keys.first, let last = keys.popLast() else { return nil }
    if !keys.isEmpty {
      keys[0] = last
      keys.withUnsafeMutableBufferPointer { Self.sink($0, from: 0) }
    }
    return (UInt32(truncatingIfNeeded: first >> 32), Int(first & 0xFFFF_FFFF))
  }

  /// Moves the key at `start` down to where it belongs.
  @inline(__always)
  private static func sink(_ keys: UnsafeMutableBufferPointer<UInt64>, from start: Int) {
    var index = start
    let key = keys[index]
    while true {
      var child = 2 * index + 1
      if child >= keys.count { break }
      if child + 1 < keys.count && keys[child + 1] < keys[child] { child += 1 }
      if key <= keys[child] { break }
      keys[index] = keys[child]
      index = child
    }
    keys[index] = key
  }
}
