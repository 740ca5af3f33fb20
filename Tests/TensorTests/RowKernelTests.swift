import CIVGKernels
import Glibc
import Tensor
import TestSupport
import Testing

/// Norms, gates, rounding, rotation: every table against plain double precision and against the
/// others.
@Suite struct RowKernelTests {
  static let lengths = [1, 2, 15, 16, 17, 31, 32, 64, 100, 576, 1000]

  /// Runs `body` for every table and expects the same bits from all and `expected` within
  /// `tolerance`.
  func check(
    _ expected: [Double], tolerance: Double, _ what: String = "", _ body: (civg_kernels) -> [Float]
  ) {
    var first: [UInt32]?
    for kernels in Kernels.available {
      let out = body(kernels.table.pointee)
      #expect(bits(out) == first ?? bits(out), "\(kernels.name) \(what)")
      first = bits(out)
      for (value, exact) in zip(out, expected) {
        #expect(
          abs(Double(value) - exact) <= tolerance * (1 + abs(exact)), "\(kernels.name) \(what)")
      }
    }
  }

  @Test(arguments: lengths) func norms(_ n: Int) {
    var random = RandomNumbers(seed: UInt64(n))
    let x = random.floats(n, scale: 3)
    let w = random.floats(n)
    let b = random.floats(n)
    let wide = x.map { Double($0) }
    let square = wide.map { $0 * $0 }.reduce(0, +) / Double(n)
    let mean = wide.reduce(0, +) / Double(n)
    let variance = wide.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(n)
    check((0..<n).map { wide[$0] * Double(w[$0]) / sqrt(square + 1e-5) }, tolerance: 2e-6) { k in
      var out = x
      out.withUnsafeMutableBufferPointer { k.rms_norm($0.baseAddress, w, n, 1e-5, $0.baseAddress) }
      return out
    }
    check(wide.map { $0 / sqrt(square + 1e-5) }, tolerance: 2e-6) { k in
      var out = x
      k.rms_norm(x, nil, n, 1e-5, &out)
      return out
    }
    check(
      (0..<n).map { (wide[$0] - mean) / sqrt(variance + 1e-3) * Double(w[$0]) + Double(b[$0]) },
      tolerance: 2e-5
    ) { k in
      var out = x
      k.layer_norm(x, w, b, n, 1e-3, &out)
      return out
    }
  }

  @Test(arguments: lengths) func gates(_ n: Int) {
    var random = RandomNumbers(seed: UInt64(n))
    let x = random.floats(n, scale: 12)
    let y = random.floats(n)
    typealias Gate = (UnsafeMutablePointer<Float>?, UnsafePointer<Float>?, Int) -> Void
    func check(
      _ gate: @escaping (civg_kernels) -> Gate, exact: (Double) -> Double
    ) {
      let values = x.map { exact(Double($0)) }
      self.check(zip(values, y).map { $0 * Double($1) }, tolerance: 1e-6) { k in
        var out = x
        gate(k)(&out, y, n)
        return out
      }
      self.check(values, tolerance: 1e-6) { k in
        var out = x
        gate(k)(&out, nil, n)
        return out
      }
    }
    check({ $0.silu_multiply }, exact: { $0 / (1 + exp(-$0)) })
    check(
      { $0.gelu_tanh_multiply },
      exact: { 0.5 * $0 * (1 + tanh(0.7978845608028654 * ($0 + 0.044715 * $0 * $0 * $0))) })
    check({ $0.gelu_multiply }, exact: { 0.5 * $0 * erfc(-$0 / 2.0.squareRoot()) })
    check({ $0.gelu_quick_multiply }, exact: { $0 / (1 + exp(-1.702 * $0)) })
  }

  @Test func gatesAtTheEdges() {
    let x: [Float] = [-.infinity, -1e30, -200, -100, -90, -0.0, 0, 90, 200, 1e30, .infinity, .nan]
    for kernels in Kernels.available {
      var silu = x
      kernels.table.pointee.silu_multiply(&silu, [Float](repeating: 1, count: 12), 12)
      #expect(silu[5] == 0 && silu[6] == 0 && silu[7] == 90 && silu[9] == 1e30)
      #expect(silu[2] == 0 && abs(silu[3]) < 1e-30 && silu[10] == .infinity && silu[11].isNaN)
    }
  }

  @Test(arguments: lengths) func sums(_ n: Int) {
    var random = RandomNumbers(seed: UInt64(n))
    let x = random.floats(n)
    let y = random.floats(n)
    let dot = ReferenceKernels.dot(x.map { Double($0) }, y.map { Double($0) })
    check([dot.sum], tolerance: 1e-6 * (1 + dot.size)) { [$0.dot(x, y, n)] }
    check(zip(x, y).map { Double($0) + Double($1) }, tolerance: 1e-7) { k in
      var out = x
      k.add(&out, y, n)
      return out
    }
    check(zip(x, y).map { Double($0) + 0.3 * Double($1) }, tolerance: 2e-7) { k in
      var out = x
      k.add_scaled(&out, y, 0.3, n)
      return out
    }
  }

  @Test(arguments: [1, 5, 16, 32, 36, 64], [0, 1] as [Int32])
  func rotation(_ pairs: Int, _ interleaved: Int32) {
    var random = RandomNumbers(seed: UInt64(pairs))
    let head = random.floats(2 * pairs + 3)
    let angles = random.floats(pairs, scale: 3)
    let c = angles.map { cosf($0) }
    let s = angles.map { sinf($0) }
    var expected = head.map { Double($0) }
    for i in 0..<pairs {
      let (a, b) = interleaved != 0 ? (2 * i, 2 * i + 1) : (i, i + pairs)
      let (x, y) = (Double(head[a]), Double(head[b]))
      expected[a] = x * Double(c[i]) - y * Double(s[i])
      expected[b] = x * Double(s[i]) + y * Double(c[i])
    }
    check(expected, tolerance: 1e-6) { k in
      var out = head
      k.rotate(&out, c, s, pairs, interleaved)
      return out
    }
  }

  @Test func rounding() {
    var random = RandomNumbers(seed: 9)
    var x = random.floats(32 * 7, scale: 5)
    for i in 32..<64 { x[i] = 0 }
    x[70] = .nan
    x[100] = -.infinity
    for i in 128..<160 { x[i] = Float.leastNormalMagnitude / 16 }
    x[160] = 1e38
    for i in 192..<224 { x[i] = i % 16 == 5 ? 40 : x[i] / 5 }
    for kernels in Kernels.available {
      var blocks = [civg_block](repeating: civg_block(), count: 7)
      kernels.table.pointee.quantize_row(x, 224, &blocks)
      for b in [0, 5, 6] {
        let (elements, scale) = (blocks[b].elements, Double(blocks[b].scale))
        let values = x[(32 * b)..<(32 * b + 32)].map { Double($0) }
        let rounded = ReferenceKernels.rounded(values)
        for i in 0..<32 {
          #expect(abs(Double(elements[i]) * scale - values[i]) <= scale * 0.50001)
          #expect(abs(Double(elements[i]) * scale - rounded[i]) <= abs(rounded[i]) * 1e-6)
        }
      }
      #expect(abs(blocks[6].scale * 127 - 1) < 0.1, "an outlier took its neighbours' precision")
      for b in [1, 4] {
        #expect(blocks[b].scale == 0 && blocks[b].elements.allSatisfy { $0 == 0 })
      }
      for b in [2, 3] {
        #expect(blocks[b].scale.isNaN && blocks[b].elements.allSatisfy { $0 == 0 })
      }
      for block in blocks {
        let values = block.elements
        #expect(Int(block.sums.0) == values[..<16].reduce(0, +))
        #expect(Int(block.sums.1) == values[16...].reduce(0, +))
        #expect(block.sum == block.sums.0 + block.sums.1)
        #expect(bits([block.scaled_sum]) == bits([block.scale * Float(block.sum)]))
      }
    }
  }

  @Test func halfPrecision() {
    for pattern in UInt16.min...UInt16.max {
      let value = civg_half_to_float(pattern)
      let exact = Float(Float16(bitPattern: pattern))
      #expect(value.isNaN ? exact.isNaN : value.bitPattern == exact.bitPattern)
    }
    var random = RandomNumbers(seed: 10)
    for _ in 0..<100_000 {
      let value = Float(bitPattern: UInt32(truncatingIfNeeded: random.next()))
      let half = civg_float_to_half(value)
      let exact = Float16(value)
      #expect(exact.isNaN ? Float16(bitPattern: half).isNaN : half == exact.bitPattern, "\(value)")
    }
    for value in [65519.9, 65520, 6e-8, 2.9e-8, 3e-8, 6.1e-5, 6.09e-5, -0.0] as [Float] {
      #expect(civg_float_to_half(value) == Float16(value).bitPattern)
    }
  }
}
