import Tensor

/// Finds a token by its bytes: an open-addressing table over the spelled entries of a vocabulary.
///
/// Of entries with the same bytes the first wins. Threads: immutable after `init`, shareable.
struct TokenIndex: Sendable {
  /// Whose entries these are; keeps the bytes alive.
  private let vocabulary: Vocabulary

  /// High half: the high half of the hash. Low half: id + 1, zero for a free slot.
  private let slots: FlatBuffer<UInt64>

  /// Whether no two entries have the same bytes.
  private let isUnique: Bool

  /// Number of slots minus one; a power of two minus one.
  private let mask: Int

  /// Indexes the entries that can come out of merging bytes. Throws `.outOfMemory`.
  init(vocabulary: Vocabulary) throws(IVGError) {
    var capacity = 16
    while capacity < vocabulary.count * 2 { capacity *= 2 }
    self.vocabulary = vocabulary
    self.mask = capacity - 1
    self.slots = try FlatBuffer(count: capacity, purpose: "the vocabulary's index")
    var isUnique = true
    for id in 0..<vocabulary.count where vocabulary.isSpelled(id) {
      let bytes = vocabulary.bytes(of: id)
      guard !bytes.isEmpty else { continue }
      let hash = Self.hash(bytes)
      var slot = Int(truncatingIfNeeded: hash) & mask
      while slots[slot] != 0 && !Self.matches(slots[slot], hash, bytes, vocabulary) {
        slot = (slot + 1) & mask
      }
      if slots[slot] == 0 {
        slots[slot] = hash & 0xFFFF_FFFF_0000_0000 | UInt64(id + 1)
      } else {
        isUnique = false
      }
    }
    self.isUnique = isUnique
  }

  /// The token that stands for exactly `bytes`, or nil.
  @inline(__always)
  func token(_ bytes: UnsafeRawBufferPointer) -> Int32? {
    guard !bytes.isEmpty, bytes.count <= vocabulary.longest else { return nil }
    let hash = Self.hash(bytes)
    var slot = Int(truncatingIfNeeded: hash) & mask
    while slots[slot] != 0 {
      if Self.matches(slots[slot], hash, bytes, vocabulary) {
        return Int32(truncatingIfNeeded: slots[slot] & 0xFFFF_FFFF) - 1
      }
      slot = (slot + 1) & mask
    }
    return nil
  }

  /// `guess` as a token when it is one that stands for `bytes`: spares the table where
  /// ids are predictable.
  @inline(__always)
  func likelyToken(_ bytes: UnsafeRawBufferPointer, guess: Int) -> Int32? {
    guard isUnique, guess < vocabulary.count, vocabulary.isSpelled(guess) else { return nil }
    let other = vocabulary.bytes(of: guess)
    guard other.count == bytes.count, areEqual(other, bytes) else { return nil }
    return Int32(truncatingIfNeeded: guess)
  }

  /// Whether an occupied slot holds `bytes`.
  @inline(__always)
  private static func matches(
    _ slot: UInt64, _ hash: UInt64, _ bytes: UnsafeRawBufferPointer, _ vocabulary: Vocabulary
  ) -> Bool {
    guard slot >> 32 == hash >> 32 else { return false }
    let other = vocabulary.bytes(of: Int(slot & 0xFFFF_FFFF) - 1)
    return other.count == bytes.count && areEqual(other, bytes)
  }

  /// A hash whose low bits choose the slot and whose high bits tell entries apart.
  @inline(__always)
  private static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var hash = UInt64(truncatingIfNeeded: bytes.count) &* 0x9E37_79B9_7F4A_7C15
    var position = 0
    while position &+ 8 <= bytes.count {
      let word = bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
      hash = mixed(hash ^ word)
      position &+= 8
    }
    if position < bytes.count {
      var word: UInt64 = 0
      while position < bytes.count {
        word = word << 8 | UInt64(bytes[position])
        position &+= 1
      }
      hash = mixed(hash ^ word)
    }
    return hash
  }

  /// Folds the 128-bit product with a constant: every input bit reaches every output bit.
  @inline(__always)
  private static func mixed(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
    return product.low ^ product.high
  }
}
