/// A 64-bit hash that tells whether bytes have changed by accident. Not for keeping anyone out.
///
/// The values are pinned: checkpoints keep them.
struct ContentHash {
  private var state: UInt64 = 0x2545_F491_4F6C_DD1D
  private var length: UInt64 = 0

  init() {}

  /// The hash of `bytes` alone.
  static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var hash = ContentHash()
    hash.update(bytes)
    return hash.value
  }

  /// Takes the next bytes. Where a content is cut does not matter as long as every piece but the
  /// last is a multiple of 8.
  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    var position = 0
    while position &+ 8 <= bytes.count {
      let word = bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
      state = Self.mixed(state ^ UInt64(littleEndian: word))
      position &+= 8
    }
    if position < bytes.count {
      var word: UInt64 = 0
      while position < bytes.count {
        word = word << 8 | UInt64(bytes[position])
        position &+= 1
      }
      state = Self.mixed(state ^ word)
    }
    length &+= UInt64(bytes.count)
  }

  /// The hash of what has been taken so far.
  var value: UInt64 { Self.mixed(state ^ length &* 0x9E37_79B9_7F4A_7C15) }

  /// Reaches every bit of the result from every bit of `value`, and is one to one, so that a change
  /// cannot be lost on the way.
  private static func mixed(_ value: UInt64) -> UInt64 {
    var value = value
    value = (value ^ value >> 32) &* 0xD6E8_FEB8_6659_FD93
    value = (value ^ value >> 32) &* 0xD6E8_FEB8_6659_FD93
    return value ^ value >> 32
  }
}
