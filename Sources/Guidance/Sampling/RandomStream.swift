/// Counter-based random numbers: a number is a function of (seed, row, position) alone, so a row's
/// tokens do not depend on what else is drawn, in which order, or by which thread.
///
/// Two rounds of the SplitMix64 finaliser over the key; see Salmon et al. 2011 for the idea of
/// generators without state.
struct RandomStream {
  let seed: UInt64

  /// Uniform in 0 ..< 1, with 53 bits.
  func uniform(row: Int, position: Int) -> Double {
    let key = Self.mix(seed &+ 0x9E37_79B9_7F4A_7C15)
    let counter = UInt64(truncatingIfNeeded: row) << 32 ^ UInt64(truncatingIfNeeded: position)
    let bits = Self.mix(key ^ Self.mix(counter &+ 0xD1B5_4A32_D192_ED03))
    return Double(bits >> 11) * 0x1p-53
  }

  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
