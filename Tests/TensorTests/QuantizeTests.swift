import CIVGKernels
import Tensor
import TestSupport
import Testing

/// Encoders, judged by what the decoders make of their bytes.
@Suite struct QuantizeTests {
  static let quantized: [TensorType] = TensorType.allCases.filter { $0.isQuantized }

  func encode(
    _ type: TensorType, _ numbers: [Float], columns: Int, weights: [Float]? = nil,
    kernels: Kernels = .current
  ) -> [UInt8] {
    var bytes = [UInt8](
      repeating: 0xA5, count: numbers.count / type.blockElements * type.blockBytes + 8)
    bytes.withUnsafeMutableBytes { out in
      kernels.quantize(type)(numbers, numbers.count / columns, columns, weights, out.baseAddress)
    }
    #expect(bytes.suffix(8).allSatisfy { $0 == 0xA5 })  // nothing is written behind the end
    return bytes.dropLast(8)
  }

  func decode(_ type: TensorType, _ bytes: [UInt8], count: Int) -> [Float] {
    var numbers = [Float](repeating: 0, count: count)
    Kernels.current.dequantize(type)(bytes, count, &numbers)
    return numbers
  }

  func distance(_ a: [Float], _ b: [Float], weights: [Float]? = nil) -> Double {
    var sum = 0.0
    for index in a.indices {
      let difference = Double(a[index]) - Double(b[index])
      sum += difference * difference * Double(weights.map { $0[index % $0.count] } ?? 1)
    }
    return sum
  }

  /// Bell-shaped numbers whose size differs from block to block.
  func weights(_ count: Int, seed: UInt64) -> [Float] {
    var numbers = RandomNumbers(seed: seed)
    return (0..<count).map { index in
      let sum = numbers.float() + numbers.float() + numbers.float() + numbers.float()
      return sum * 0.02 * Float(1 + index / 32 % 7)
    }
  }

  /// Every table of this CPU gives the same bytes, for any number of rows at a time.
  @Test(arguments: TensorType.allCases) func sameBits(type: TensorType) {
    let columns = 768
    let numbers = weights(columns * 5, seed: 1)
    let importance = weights(columns, seed: 2).map { $0 * $0 + 0.001 }
    for weights in [nil, importance] {
      let whole = encode(type, numbers, columns: columns, weights: weights)
      for kernels in Kernels.available {
        #expect(
          encode(type, numbers, columns: columns, weights: weights, kernels: kernels) == whole)
      }
      let rows = (0..<5).flatMap { row in
        encode(
          type, Array(numbers[row * columns..<(row + 1) * columns]), columns: columns,
          weights: weights)
      }
      #expect(rows == whole)
    }
  }

  /// Numbers that a type can hold come back: each block is some scale (a half) times whole numbers.
  @Test(arguments: quantized) func exactNumbers(type: TensorType) {
    var random = RandomNumbers(seed: 3)
    let top: Int =
      switch type {
      case .q2_K: 3
      case .q3_K: 3
      case .q4_0: 7
      case .q4_1, .q4_K: 15
      case .q5_0: 15
      case .q5_1, .q5_K: 31
      case .q6_K: 31
      default: 127
      }
    let isLine = [.q4_1, .q5_1, .q2_K, .q4_K, .q5_K].contains(type)
    let low = isLine ? 0 : type == .q8_0 ? -127 : -top - 1
    let numbers = (0..<1024).map { index -> Float in
      // Every block has both ends of the range.
      if index % 16 == 0 { return Float(low) * 0.25 }
      if index % 16 == 1 { return Float(top) * 0.25 }
      return Float(Int(random.next() % UInt64(top - low + 1)) + low) * 0.25
    }
    let back = decode(type, encode(type, numbers, columns: 512), count: 1024)
    // A superblock's scale is a half times whole numbers up to 63, which a quarter need not be.
    let bound: Float = isLine && type.blockElements == 256 ? 0x1p-11 : 0
    let far = zip(back, numbers).first { abs($0 - $1) > bound * abs($1) }
    #expect(far == nil)
  }

  @Test(arguments: TensorType.allCases) func zerosAndExtremes(type: TensorType) {
    for value in [Float(0), -0.0, 1e-30, 6e-8, 1, -65504, 65504] {
      let numbers = [Float](repeating: value, count: 512)
      let back = decode(type, encode(type, numbers, columns: 256), count: 512)
      let bound = max(abs(value) * 0.07, 6e-8)
      #expect(back.allSatisfy { abs($0 - value) <= bound }, "\(type) \(value) \(back[0])")
    }
    var mixed = [Float](repeating: 0, count: 256)  // one number alone
    mixed[200] = -3
    let back = decode(type, encode(type, mixed, columns: 256), count: 256)
    #expect(
      abs(back[200] + 3) < 0.01 && back.enumerated().allSatisfy { $0.0 == 200 || abs($0.1) < 0.003 }
    )
  }

  /// Halves and bfloat16 are rounded to nearest, ties to even.
  @Test func floats() {
    let numbers: [Float] = [
      0, -0, 1, 1.0009765, 0x1.002p0, 0x1.006p0, 65504, 6e-8, 0x1.01p0, 0x1.03p0, -0x1.01p0, 0.1,
      3e-5,
      1.25, -2, 7, 9,
    ]
    let halves = encode(.f16, numbers, columns: numbers.count)
    let brains = encode(.bf16, numbers, columns: numbers.count)
    for (index, number) in numbers.enumerated() {
      let half = UInt16(halves[2 * index]) | UInt16(halves[2 * index + 1]) << 8
      #expect(half == civg_float_to_half(number))
      let brain = UInt16(brains[2 * index]) | UInt16(brains[2 * index + 1]) << 8
      let (kept, rest) = (number.bitPattern >> 16, number.bitPattern & 0xFFFF)
      let up = rest > 0x8000 || rest == 0x8000 && kept & 1 == 1
      #expect(UInt32(brain) == kept + (up ? 1 : 0))
    }
  }

  /// Blocks of 32 and a scale: no scale of a fine grid over the whole range of those that make sense does more than a
  /// little better. For a type that counts large numbers for more the error is weighed so.
  @Test(arguments: [TensorType.q4_0, .q5_0, .q8_0]) func againstAllScales(type: TensorType) {
    let top: Float = type == .q4_0 ? 7 : type == .q5_0 ? 15 : 127
    let low: Float = type == .q8_0 ? -127 : -top - 1
    let numbers = weights(32 * 40, seed: 4)
    let back = decode(type, encode(type, numbers, columns: 32), count: numbers.count)
    var (found, best) = (0.0, 0.0)
    for block in 0..<40 {
      let x = Array(numbers[32 * block..<32 * block + 32])
      let mean = x.reduce(0) { $0 + $1 * $1 } / 32
      let w = x.map { type == .q4_0 ? (mean + $0 * $0).squareRoot() : 1 }
      let largest = x.max { abs($0) < abs($1) }!
      var least = Double.infinity
      for step in 0..<2000 {
        for end in [low, top] {
          let d = Float(Float16(largest / end * (0.6 + Float(step) * 0.0003)))
          let q = x.map { min(max(($0 / d).rounded(.toNearestOrEven), low), top) * d }
          least = min(least, distance(x, q, weights: w))
        }
      }
      best += least
      found += distance(x, Array(back[32 * block..<32 * block + 32]), weights: w)
    }
    // Eight bits are enough as they are: there the search is short.
    #expect(found <= best * (type == .q8_0 ? 1.3 : 1.02), "\(found / best)")
    #expect(found >= best * 0.98)
  }

  /// Blocks of 32, a scale and a minimum: the same over a grid of both.
  @Test(arguments: [TensorType.q4_1, .q5_1]) func againstAllLines(type: TensorType) {
    let top: Float = type == .q4_1 ? 15 : 31
    let numbers = weights(32 * 20, seed: 5)
    let back = decode(type, encode(type, numbers, columns: 32), count: numbers.count)
    var (found, best) = (0.0, 0.0)
    for block in 0..<20 {
      let x = Array(numbers[32 * block..<32 * block + 32])
      let (bottom, range) = (x.min()!, x.max()! - x.min()!)
      var least = Double.infinity
      for low in -10...30 {
        for high in -10...30 {
          let m = bottom + range * Float(low) * 0.005
          let d = (bottom + range * (1 - Float(high) * 0.005) - m) / top
          let (roundD, roundM) = (Float(Float16(d)), Float(Float16(m)))
          let q = x.map {
            min(max((($0 - roundM) / roundD).rounded(.toNearestOrEven), 0), top) * roundD + roundM
          }
          least = min(least, distance(x, q))
        }
      }
      best += least
      found += distance(x, Array(back[32 * block..<32 * block + 32]))
    }
    #expect(found <= best * 1.02, "\(found / best)")
  }

  /// More bits, less error; and weights lower the error that they weigh.
  @Test func order() {
    let columns = 768
    let numbers = weights(columns * 8, seed: 6)
    func error(of type: TensorType) -> Double {
      distance(
        numbers, decode(type, encode(type, numbers, columns: columns), count: numbers.count))
    }
    let errors = [TensorType.q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .q8_0].map(error(of:))
    for (more, less) in zip(errors, errors.dropFirst()) { #expect(less < more * 0.5) }
    #expect(error(of: .q4_1) < error(of: .q4_0) && error(of: .q5_1) < error(of: .q5_0))
    let importance = weights(columns, seed: 7).map { $0 * $0 * $0 * $0 + 1e-9 }
    for type in Self.quantized {
      let plain = decode(type, encode(type, numbers, columns: columns), count: numbers.count)
      let weighed = decode(
        type, encode(type, numbers, columns: columns, weights: importance), count: numbers.count)
      #expect(
        distance(numbers, weighed, weights: importance)
          < distance(numbers, plain, weights: importance) * 0.95, "\(type)")
    }
  }
}
