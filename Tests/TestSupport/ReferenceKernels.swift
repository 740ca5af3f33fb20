import Glibc
import Tensor

/// The slow twins of the kernels: plain sums in double precision, one statement per definition.
package enum ReferenceKernels {
  /// Random rows of a type as a file would store them, with scales of ordinary size (`scale`).
  /// `fill` replaces every byte that is not part of such a scale.
  package static func weights(
    _ type: TensorType, rows: Int, columns: Int, scale: Float = 0.01, fill: UInt8? = nil,
    random: inout RandomNumbers
  ) -> [UInt8] {
    var bytes: [UInt8] = []
    func half(_ value: Float) -> [UInt8] {
      let bits = Float16(value).bitPattern
      return [UInt8(truncatingIfNeeded: bits), UInt8(bits >> 8)]
    }
    for _ in 0..<(rows * columns / type.blockElements) {
      var block = (0..<type.blockBytes).map { _ in fill ?? UInt8(truncatingIfNeeded: random.next())
      }
      let scales: [Int] =
        switch type {
        case .f32, .f16, .bf16: []
        case .q4_0, .q5_0, .q8_0: [0]
        case .q4_1, .q5_1, .q4_K, .q5_K: [0, 2]
        case .q2_K: [80, 82]
        case .q3_K: [108]
        case .q6_K: [208]
        }
      for at in scales { block.replaceSubrange(at..<at + 2, with: half(random.float(scale))) }
      switch type {
      case .f32: block = withUnsafeBytes(of: random.float(1)) { Array($0) }
      case .f16: block = half(random.float(1))
      case .bf16: block = withUnsafeBytes(of: random.float(1)) { Array($0[2..<4]) }
      default: break
      }
      bytes += block
    }
    return bytes
  }

  /// One stored row, element by element.
  package static func decode(_ type: TensorType, _ row: ArraySlice<UInt8>, columns: Int) -> [Double]
  {
    (0..<columns).map { column in
      let block = row.dropFirst(column / type.blockElements * type.blockBytes)
        .prefix(type.blockBytes)
      return element(type, Array(block), column % type.blockElements)
    }
  }

  /// Element `i` of one block, straight from the definition of the type.
  private static func element(_ type: TensorType, _ b: [UInt8], _ i: Int) -> Double {
    func half(_ at: Int) -> Double {
      Double(Float16(bitPattern: UInt16(b[at]) | UInt16(b[at + 1]) << 8))
    }
    func bits(_ at: Int, _ shift: Int, _ count: Int) -> Int {
      Int(b[at]) >> shift & (1 << count - 1)
    }
    func word() -> UInt32 {
      UInt32(b[0]) | UInt32(b[1]) << 8 | UInt32(b[2]) << 16 | UInt32(b[3]) << 24
    }
    // 32 columns as nibbles: the low ones first, then the high ones.
    func nibble(_ at: Int) -> Int { bits(at + i % 16, i / 16 * 4, 4) }
    // Scale or minimum of 32 columns in the packed 6-bit form.
    func six(_ j: Int, minimum: Bool) -> Int {
      let low = j < 4 ? (minimum ? 8 + j : 4 + j) : 8 + j
      if j < 4 { return bits(low, 0, 6) }
      let high = minimum ? bits(4 + j, 6, 2) : bits(j, 6, 2)
      return bits(low, minimum ? 4 : 0, 4) + 16 * high
    }
    let sub = i / 32
    let at = i % 32
    switch type {
    case .f32: return Double(Float(bitPattern: word()))
    case .f16: return half(0)
    case .bf16: return Double(Float(bitPattern: UInt32(b[0]) << 16 | UInt32(b[1]) << 24))
    case .q8_0: return half(0) * Double(Int8(bitPattern: b[2 + i]))
    case .q4_0: return half(0) * Double(nibble(2) - 8)
    case .q4_1: return half(0) * Double(nibble(4)) + half(2)
    case .q5_0: return half(0) * Double(nibble(6) + 16 * bits(2 + i / 8, i % 8, 1) - 16)
    case .q5_1: return half(0) * Double(nibble(8) + 16 * bits(4 + i / 8, i % 8, 1)) + half(2)
    case .q4_K:
      let q = bits(16 + sub / 2 * 32 + at, sub % 2 * 4, 4)
      return half(0) * Double(six(sub, minimum: false) * q)
        - half(2) * Double(six(sub, minimum: true))
    case .q5_K:
      let q = bits(48 + sub / 2 * 32 + at, sub % 2 * 4, 4) + 16 * bits(16 + at, sub, 1)
      return half(0) * Double(six(sub, minimum: false) * q)
        - half(2) * Double(six(sub, minimum: true))
    case .q6_K:
      let low = bits(i / 128 * 64 + sub % 2 * 32 + at, sub % 4 / 2 * 4, 4)
      let high = bits(128 + i / 128 * 32 + at, sub % 4 * 2, 2)
      return half(208) * Double(Int8(bitPattern: b[192 + i / 16])) * Double(low + 16 * high - 32)
    case .q3_K:
      let low = bits(32 + i / 128 * 32 + at, sub % 4 * 2, 2)
      let high = bits(at, sub, 1)
      let j = i / 16
      let scale = bits(96 + j % 8, j / 8 * 4, 4) + 16 * bits(104 + j % 4, j / 4 * 2, 2) - 32
      return half(108) * Double(scale) * Double(low + 4 * high - 4)
    case .q2_K:
      let q = bits(16 + i / 128 * 32 + at, sub % 4 * 2, 2)
      return half(80) * Double(bits(i / 16, 0, 4) * q) - half(82) * Double(bits(i / 16, 4, 4))
    }
  }

  /// What activations are after rounding: by blocks of 32, in steps of a 127th of the largest element outside the
  /// group of four, in each half, that holds the half's largest; that group may reach 128 times as far.
  package static func rounded(_ x: [Double]) -> [Double] {
    stride(from: 0, to: x.count, by: 32).flatMap { start -> [Double] in
      let block = Array(x[start..<start + 32])
      let groups = (0..<8).map { group in block[(4 * group)..<(4 * group + 4)].map(abs).max()! }
      let rest = [0..<4, 4..<8].map { groups[$0].sorted().dropLast().last! }.max()!
      let step = max(rest, groups.max()! / 128) / 127
      return block.map { step == 0 ? 0 : ($0 / step).rounded(.toNearestOrEven) * step }
    }
  }

  /// Sum of x y, and the sum of its terms' sizes (a yardstick for rounding errors).
  package static func dot(_ x: [Double], _ y: [Double]) -> (sum: Double, size: Double) {
    var sum = 0.0
    var size = 0.0
    for i in x.indices {
      sum += x[i] * y[i]
      size += abs(x[i] * y[i])
    }
    return (sum, size)
  }

  /// Weights proportional to e^score.
  package static func softmax(_ scores: [Double]) -> [Double] {
    let top = scores.max() ?? 0
    let weights = scores.map { exp($0 - top) }
    let total = weights.reduce(0, +)
    return weights.map { $0 / total }
  }

  /// Attention of one query over keys and values: [tokens][dimensions].
  package static func attend(
    query: [Double], keys: [[Double]], values: [[Double]], scale: Double, softcap: Double
  ) -> [Double] {
    let weights = softmax(
      keys.map {
        let score = dot(query, $0).sum * scale
        return softcap > 0 ? softcap * tanh(score / softcap) : score
      })
    return query.indices.map { d in
      zip(weights, values).reduce(0) { $0 + $1.0 * $1.1[d] }
    }
  }
}
