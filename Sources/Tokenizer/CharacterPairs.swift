import Tensor

/// Which characters may stand side by side inside a token: a set that may hold too much, never too
/// little.
///
/// Between two characters that stand side by side in no token, nothing merges: what is left and
/// right of such a seam is tokenised alike together and apart. A character is a code point, or a
/// byte that is no UTF-8. Threads: immutable after `init`, shareable.
struct CharacterPairs: Sendable {
  /// One bit for each hash.
  private let bits: FlatBuffer<UInt64>

  /// Number of bits minus one; a power of two minus one.
  private let mask: UInt64

  /// The pairs in the tokens that text can become or that are searched for in text. Throws
  /// `.outOfMemory`.
  init(vocabulary: Vocabulary) throws(IVGError) {
    // About 16 bits for each token: a few in a hundred of the pairs that are in no token seem to be
    // in one.
    var words = 16
    while words < min(vocabulary.count / 4, 1 << 17) { words *= 2 }
    bits = try FlatBuffer(count: words, purpose: "the pairs of characters in the vocabulary")
    mask = UInt64(words * 64 - 1)
    for id in 0..<vocabulary.count
    where vocabulary.isSpelled(id) || vocabulary.kind(of: id) == .userDefined {
      insert(vocabulary.bytes(of: id))
    }
  }

  /// Whether a token may hold `left` directly before `right`.
  @inline(__always)
  func contains(_ left: UInt32, _ right: UInt32) -> Bool {
    let hash = self.hash(left, right)
    return bits[Int(hash >> 6)] & 1 << (hash & 63) != 0
  }

  /// The character at `position`, which is below `text.count`, and its length in bytes.
  @inline(__always)
  static func character(
    in text: UnsafeRawBufferPointer, at position: Int
  ) -> (code: UInt32, length: Int) {
    if let (scalar, length) = decodeScalar(text, at: position, end: text.count) {
      return (scalar.value, length)
    }
    return (invalid | UInt32(text[position]), 1)
  }

  /// Marks bytes that are no UTF-8; above all code points.
  private static let invalid: UInt32 = 0x20_0000

  private func insert(_ text: UnsafeRawBufferPointer) {
    guard !text.isEmpty else { return }
    var (left, position) = Self.character(in: text, at: 0)
    while position < text.count {
      let (right, length) = Self.character(in: text, at: position)
      let hash = self.hash(left, right)
      bits[Int(hash >> 6)] |= 1 << (hash & 63)
      left = right
      position += length
    }
  }

  @inline(__always)
  private func hash(_ left: UInt32, _ right: UInt32) -> UInt64 {
    let product = (UInt64(left) << 32 | UInt64(right)).multipliedFullWidth(
      by: 0x9E37_79B9_7F4A_7C15)
    return (product.low >> 32 ^ product.high) & mask
  }
}
