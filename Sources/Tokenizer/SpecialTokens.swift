import Tensor

/// Finds special tokens written out in text.
///
/// A sorted list of ids, searched by narrowing to the entries that share a prefix with the text; a
/// table of first bytes skips everything else. Threads: immutable after `init`, shareable.
struct SpecialTokens: Sendable {
  /// A token found in text.
  struct Match {
    /// Where it begins.
    var position: Int
    /// How many bytes it covers.
    var length: Int
    /// The token.
    var token: Int32
  }

  /// Special tokens longer than this are not looked for; it bounds the work per byte of text.
  static let maximumLength = 1024

  /// Whose tokens these are; keeps the bytes alive.
  private let vocabulary: Vocabulary

  /// Ids in the order of their bytes; of equals the smallest id.
  private let sorted: [Int32]

  /// Where the entries with each first byte begin in `sorted`; 257 entries.
  private let firstByte: [Int]

  /// Whether there is nothing to find.
  var isEmpty: Bool { sorted.isEmpty }

  /// Indexes the tokens of `ids`; empty ones and ones longer than `maximumLength` are left out.
  init(vocabulary: Vocabulary, ids: [Int32]) {
    self.vocabulary = vocabulary
    let candidates =
      ids.filter { id in
        let length = vocabulary.bytes(of: Int(id)).count
        return length > 0 && length <= Self.maximumLength
      }.sorted { left, right in
        let leftBytes = vocabulary.bytes(of: Int(left))
        let rightBytes = vocabulary.bytes(of: Int(right))
        if isOrderedBefore(leftBytes, rightBytes) { return true }
        return left < right && !isOrderedBefore(rightBytes, leftBytes)
      }
    var distinct: [Int32] = []
    distinct.reserveCapacity(candidates.count)
    for id in candidates {
      if let last = distinct.last,
        !isOrderedBefore(vocabulary.bytes(of: Int(last)), vocabulary.bytes(of: Int(id)))
      {
        continue
      }
      distinct.append(id)
    }
    sorted = distinct
    var starts = [Int](repeating: 0, count: 257)
    for id in sorted { starts[Int(vocabulary.bytes(of: Int(id))[0]) + 1] += 1 }
    for byte in 0..<256 { starts[byte + 1] += starts[byte] }
    firstByte = starts
  }

  /// The longest special token that begins at `position` and ends at `end` or before; nil when none
  /// does. `position` is below `end`.
  func longest(
    in text: UnsafeRawBufferPointer, at position: Int, end: Int
  ) -> Match? {
    let byte = Int(text[position])
    var low = firstByte[byte]
    var high = firstByte[byte + 1]
    var found: Match?
    var depth = 1
    // All entries of low..<high agree with the text on the first `depth` bytes.
    while low < high {
      if bytes(low).count == depth {
        found = Match(position: position, length: depth, token: sorted[low])
        low += 1
      }
      guard low < high, position + depth < end else { break }
      let wanted = text[position + depth]
      low = partition(low, high) { $0[depth] >= wanted }
      high = partition(low, high) { $0[depth] > wanted }
      depth += 1
    }
    return found
  }

  /// Whether a special token may begin with `byte`.
  @inline(__always)
  func mayBegin(with byte: UInt8) -> Bool {
    firstByte[Int(byte)] != firstByte[Int(byte) + 1]
  }

  /// Bytes of the entry at `index` of the sorted list.
  @inline(__always)
  private func bytes(_ index: Int) -> UnsafeRawBufferPointer {
    vocabulary.bytes(of: Int(sorted[index]))
  }

  /// The first index in `low..<high` whose bytes satisfy `condition`, which holds from some index
  /// on; `high` when none does.
  @inline(__always)
  private func partition(
    _ low: Int, _ high: Int, where condition: (UnsafeRawBufferPointer) -> Bool
  ) -> Int {
    var low = low
    var high = high
    while low < high {
      let middle = low + (high - low) / 2
      if condition(bytes(middle)) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
