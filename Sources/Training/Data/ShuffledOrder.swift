/// A random order of 0 ..< count that nothing remembers: position `p` is computed from the seed and
/// the epoch alone, so a run can go on from any place.
///
/// A Feistel network on as many bits as `count` needs, walked until it falls below `count`. The
/// orders are pinned: checkpoints count on them.
///
/// Threads: immutable, shareable.
package struct ShuffledOrder: Sendable {
  private static let rounds = 12

  /// How many there are.
  package let count: Int

  /// Bits of the left and the right half.
  private let leftBits: UInt64
  private let rightBits: UInt64
  private let seed: UInt64

  /// The order of `epoch` of the run with `seed`; another for each of either. `count` is at least
  /// 0.
  package init(count: Int, seed: UInt64, epoch: UInt64) {
    precondition(count >= 0, "a negative count")
    self.count = count
    let bits = UInt64(count > 1 ? Int.bitWidth - (count - 1).leadingZeroBitCount : 0)
    leftBits = bits / 2
    rightBits = bits - leftBits
    self.seed = Self.mixed(Self.mixed(seed &+ Self.step) &+ epoch)
  }

  /// What is at `position`, which must be in 0 ..< `count`.
  package subscript(_ position: Int) -> Int {
    precondition(position >= 0 && position < count, "no such position")
    var value = UInt64(position)
    repeat { value = forward(value) } while value >= UInt64(count)
    return Int(value)
  }

  /// Where `value`, which must be in 0 ..< `count`, is.
  package func position(of value: Int) -> Int {
    precondition(value >= 0 && value < count, "no such value")
    var position = UInt64(value)
    repeat { position = backward(position) } while position >= UInt64(count)
    return Int(position)
  }

  private func forward(_ value: UInt64) -> UInt64 {
    var (left, right) = halves(value)
    for round in 0..<Self.rounds {
      if round % 2 == 0 {
        left ^= noise(right, round, bits: leftBits)
      } else {
        right ^= noise(left, round, bits: rightBits)
      }
    }
    return left << rightBits | right
  }

  private func backward(_ value: UInt64) -> UInt64 {
    var (left, right) = halves(value)
    for round in (0..<Self.rounds).reversed() {
      if round % 2 == 0 {
        left ^= noise(right, round, bits: leftBits)
      } else {
        right ^= noise(left, round, bits: rightBits)
      }
    }
    return left << rightBits | right
  }

  private func halves(_ value: UInt64) -> (UInt64, UInt64) {
    (value >> rightBits, value & (1 << rightBits - 1))
  }

  /// `bits` random bits that depend on `half` and the round.
  private func noise(_ half: UInt64, _ round: Int, bits: UInt64) -> UInt64 {
    let key = Self.mixed(seed &+ UInt64(round) &* Self.step)
    return Self.mixed(half ^ key) >> (64 - bits)
  }

  private static let step: UInt64 = 0x9E37_79B9_7F4A_7C15

  private static func mixed(_ value: UInt64) -> UInt64 {
    var value = value
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }
}
