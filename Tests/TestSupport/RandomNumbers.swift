/// A reproducible stream of numbers (SplitMix64): the same seed gives the same numbers everywhere.
package struct RandomNumbers: RandomNumberGenerator {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  /// Uniform in -scale ..< scale.
  package mutating func float(_ scale: Float = 1) -> Float {
    (Float(next() >> 40) * 0x1p-23 - 1) * scale
  }

  /// `count` numbers, uniform in -scale ..< scale.
  package mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in float(scale) }
  }
}
