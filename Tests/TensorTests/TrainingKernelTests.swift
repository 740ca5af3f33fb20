import CIVGKernels
import Glibc
import Tensor
import TestSupport
import Testing

/// What only training uses: every table against plain double precision and against the others.
@Suite struct TrainingKernelTests {
  static let lengths = [1, 2, 15, 16, 17, 31, 33, 64, 100, 576]

  /// As in `RowKernelTests`.
  private func check(
    _ expected: [Double], tolerance: Double, _ what: String = "", _ body: (civg_kernels) -> [Float]
  ) {
    RowKernelTests().check(expected, tolerance: tolerance, what, body)
  }

  // MARK: Chains

  struct Shape: Sendable { let rows, columns, depth: Int }

  /// Any shape, any strides, b in panels or plain, from zero or on top: the same bits, and near the truth.
  @Test(arguments: [
    Shape(rows: 1, columns: 1, depth: 1), Shape(rows: 3, columns: 31, depth: 7),
    Shape(rows: 14, columns: 32, depth: 256), Shape(rows: 15, columns: 33, depth: 257),
    Shape(rows: 29, columns: 80, depth: 300), Shape(rows: 8, columns: 48, depth: 1),
    Shape(rows: 43, columns: 100, depth: 600),
  ])
  func chains(_ shape: Shape) {
    let (rows, columns, depth) = (shape.rows, shape.columns, shape.depth)
    var random = RandomNumbers(seed: UInt64(rows + depth))
    let a = random.floats(rows * depth)
    let b = random.floats(depth * columns)
    let start = random.floats(rows * columns)
    let panels = (columns + 31) / 32
    var panelled = [Float](repeating: 0, count: panels * depth * 32)
    for k in 0..<depth {
      for j in 0..<columns { panelled[(j / 32 * depth + k) * 32 + j % 32] = b[k * columns + j] }
    }
    let transposed = (0..<depth * rows).map { a[$0 % rows * depth + $0 / rows] }
    for continues in [false, true] {
      let expected = (0..<rows * columns).map { place in
        let (i, j) = (place / columns, place % columns)
        return (0..<depth).reduce(continues ? Double(start[place]) : 0) {
          $0 + Double(a[i * depth + $1]) * Double(b[$1 * columns + j])
        }
      }
      for (isTransposed, isPanelled) in [(false, false), (true, false), (false, true)] {
        check(expected, tolerance: 1e-5 * Double(depth).squareRoot(), "\(shape)") { k in
          var out = start
          out.withUnsafeMutableBufferPointer { out in
            var product = civg_chain()
            product.a_row = isTransposed ? 1 : depth
            product.a_step = isTransposed ? rows : 1
            product.b_panel = isPanelled ? depth * 32 : 32
            product.b_step = isPanelled ? 32 : columns
            product.out = out.baseAddress!
            product.out_stride = columns
            (product.rows, product.columns, product.depth) = (rows, columns, depth)
            product.continues = continues ? 1 : 0
            (isTransposed ? transposed : a).withUnsafeBufferPointer { a in
              (isPanelled ? panelled : b).withUnsafeBufferPointer { b in
                product.a = a.baseAddress!
                product.b = b.baseAddress!
                k.chain(&product)
              }
            }
          }
          return out
        }
      }
    }
  }

  /// A row's bits do not depend on the rows that are computed with it.
  @Test func chainsOfOneRow() {
    var random = RandomNumbers(seed: 5)
    let (rows, columns, depth) = (37, 64, 700)
    let a = random.floats(rows * depth)
    let b = random.floats(depth * columns)
    for kernels in Kernels.available {
      func product(_ first: Int, _ count: Int) -> [Float] {
        var out = [Float](repeating: 0, count: count * columns)
        out.withUnsafeMutableBufferPointer { out in
          a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
              var product = civg_chain(
                a: a.baseAddress! + first * depth, a_row: depth, a_step: 1, b: b.baseAddress!,
                b_panel: 32, b_step: columns, out: out.baseAddress!, out_stride: columns,
                rows: count, columns: columns, depth: depth, continues: 0)
              kernels.table.pointee.chain(&product)
            }
          }
        }
        return out
      }
      let all = product(0, rows)
      for row in 0..<rows {
        #expect(bits(product(row, 1)) == bits(Array(all[row * columns..<(row + 1) * columns])))
      }
    }
  }

  // MARK: Weights

  @Test(arguments: TensorType.allCases) func unpacking(_ type: TensorType) throws {
    let columns = type.blockElements == 1 ? 301 : type.blockElements * 3
    let operands = Operands(type, outputs: 37, columns: columns)
    let exact = (0..<37).map { operands.weights($0) }
    let from = type.blockElements == 1 ? 5 : type.blockElements
    let count = type.blockElements == 1 ? 290 : type.blockElements * 2
    try operands.bytes.withUnsafeBytes { bytes in
      let matrix = try WeightMatrix(type: type, data: bytes, outputs: 37, columns: columns)
      // The last panel has five outputs.
      let rows = (0..<count * 32).map { place in
        let (k, i) = (place / 32, place % 32)
        return i < 5 ? exact[32 + i][from + k] : 0
      }
      check(rows, tolerance: 1e-6, "\(type) rows") { k in
        var view = matrix.civg
        var panel = [Float](repeating: .nan, count: count * 32)
        k.unpack_rows(&view, 32, 5, from, count, &panel)
        return panel
      }
      let panels = (count + 31) / 32
      let across = (0..<panels * 7 * 32).map { place in
        let (panel, o, j) = (place / 32 / 7, place / 32 % 7, place % 32)
        return panel * 32 + j < count ? exact[20 + o][from + panel * 32 + j] : 0
      }
      check(across, tolerance: 1e-6, "\(type) columns") { k in
        var view = matrix.civg
        var out = [Float](repeating: .nan, count: panels * 7 * 32)
        k.unpack_columns(&view, 20, 7, from, count, &out)
        return out
      }
    }
  }

  // MARK: Derivatives

  @Test(arguments: lengths) func norms(_ n: Int) {
    var random = RandomNumbers(seed: UInt64(n))
    let (x, w, dy, dx) = (
      random.floats(n, scale: 3), random.floats(n), random.floats(n), random.floats(n)
    )
    func loss(_ x: [Double]) -> Double {
      let inverse = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(n) + 1e-5).squareRoot()
      return (0..<n).reduce(0) { $0 + x[$1] * inverse * Double(w[$1]) * Double(dy[$1]) }
    }
    let differences: [Double] = (0..<n).map { (i: Int) -> Double in
      var up = x.map { Double($0) }
      var down = up
      up[i] += 1e-5
      down[i] -= 1e-5
      return Double(dx[i]) + (loss(up) - loss(down)) / 2e-5
    }
    check(differences, tolerance: 3e-6) { k in
      var out = dx
      k.rms_norm_backward(x, w, dy, n, 1e-5, &out)
      return out
    }
  }

  @Test(arguments: lengths) func gates(_ n: Int) {
    var random = RandomNumbers(seed: UInt64(n))
    let (g, u, d) = (random.floats(n, scale: 9), random.floats(n), random.floats(n))
    func silu(_ x: Double) -> Double { x / (1 + exp(-x)) }
    let expected: [Double] = (0..<n).map { (i: Int) -> Double in
      Double(d[i]) * Double(u[i]) * (silu(Double(g[i]) + 1e-5) - silu(Double(g[i]) - 1e-5)) / 2e-5
    }
    for part in 0..<3 {
      let wanted =
        part == 0
        ? expected
        : (0..<n).map {
          part == 1 ? Double(d[$0]) * silu(Double(g[$0])) : silu(Double(g[$0])) * Double(u[$0])
        }
      check(wanted, tolerance: 4e-6) { k in
        var (gate, up, product) = (d, d, d)
        k.silu_multiply_backward(g, u, &gate, &up, &product, n)
        return [gate, up, product][part]
      }
    }
  }

  @Test(arguments: lengths) func softmaxes(_ n: Int) {
    var random = RandomNumbers(seed: UInt64(n))
    let width = n + 5
    let (x, d) = (random.floats(width, scale: 30), random.floats(width))
    let powers = (0..<n).map { exp(0.5 * Double(x[$0])) }
    let p = powers.map { $0 / powers.reduce(0, +) } + [Double](repeating: 0, count: 5)
    check(p, tolerance: 3e-6) { k in
      var out = x
      k.softmax(&out, n, width, 0.5)
      return out
    }
    let mean = (0..<n).reduce(0) { $0 + p[$1] * Double(d[$1]) }
    check(
      (0..<width).map { $0 < n ? 0.5 * p[$0] * (Double(d[$0]) - mean) : 0 }, tolerance: 3e-6
    ) { k in
      var (out, probabilities) = (d, x)
      k.softmax(&probabilities, n, width, 0.5)
      k.softmax_backward(probabilities, &out, n, width, 0.5)
      return out
    }
  }

  @Test(arguments: lengths) func logProbabilities(_ n: Int) {
    var random = RandomNumbers(seed: UInt64(n))
    let (x, y) = (random.floats(n, scale: 10), random.floats(n))
    let total = log(x.reduce(0) { $0 + exp(Double($1)) })
    let p = x.map { exp(Double($0) - total) }
    let token = n / 2
    check(p.indices.map { -0.7 * (p[$0] - ($0 == token ? 1 : 0)) }, tolerance: 3e-6) { k in
      var out = x
      k.log_probability_backward(&out, n, token, k.log_sum_exp(x, n), 0.7)
      return out
    }
    check([zip(p, y).reduce(0) { $0 + $1.0 * Double($1.1) }], tolerance: 3e-6) { k in
      [Float(k.expectation(x, y, n, k.log_sum_exp(x, n)))]
    }
    check([x.reduce(0) { $0 + Double($1) * Double($1) }], tolerance: 1e-6) { k in
      [Float(k.sum_of_squares(x, n))]
    }
  }

  // MARK: The optimiser, dropout, transposes

  @Test(arguments: lengths) func adamw(_ n: Int) {
    var random = RandomNumbers(seed: UInt64(n))
    let (p, g, m) = (random.floats(n), random.floats(n), random.floats(n))
    let s = random.floats(n).map { abs($0) }
    var step = civg_adamw(
      gradient_scale: 0.5, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, rate: 0.01, decay: 0.002,
      correction1: 2, correction2: 3)
    for part in 0..<3 {
      let expected: [Double] = (0..<n).map { (i: Int) -> Double in
        let gradient = 0.5 * Double(g[i])
        let first = 0.9 * Double(m[i]) + 0.1 * gradient
        let second = 0.99 * Double(s[i]) + 0.01 * gradient * gradient
        let decayed = Double(p[i]) * (1 - 0.002)
        let divisor = (3 * second).squareRoot() + 1e-8
        let parts: [Double] = [decayed - 0.02 * first / divisor, first, second]
        return parts[part]
      }
      check(expected, tolerance: 2e-6) { k in
        var (values, first, second) = (p, m, s)
        k.adamw(&step, &values, g, &first, &second, n)
        return [values, first, second][part]
      }
    }
  }

  @Test func dropout() {
    let n = 100_003
    let x = [Float](repeating: 2, count: n)
    var first: [UInt32]?
    for kernels in Kernels.available {
      var out = [Float](repeating: 0, count: n)
      kernels.table.pointee.dropout(x, &out, n, 0.25, 77, 0)
      #expect(first ?? bits(out) == bits(out))
      first = bits(out)
      let kept = out.filter { $0 != 0 }
      #expect(abs(Double(kept.count) / Double(n) - 0.75) < 0.01)
      #expect(kept.allSatisfy { abs($0 - 2 / 0.75) < 1e-6 })
      // Neighbours are independent.
      let pairs = zip(out, out.dropFirst()).filter { $0 != 0 && $1 != 0 }.count
      #expect(abs(Double(pairs) / Double(n) - 0.5625) < 0.01)
      var other = out
      kernels.table.pointee.dropout(x, &other, n, 0.25, 78, 0)
      let same = zip(out, other).filter { ($0 == 0) == ($1 == 0) }.count
      #expect(abs(Double(same) / Double(n) - 0.625) < 0.01)
      kernels.table.pointee.dropout(x, &other, n, 0.25, 78, 1)
      #expect(other.max()! > 5)
    }
  }

  @Test func transposes() {
    let x = (0..<60).map { Float($0) }
    let expected: [Double] = (0..<24).map { (place: Int) -> Double in
      place % 8 < 5 ? Double(place % 8 * 12 + place / 8) : 0
    }
    check(expected, tolerance: 0) { k in
      var out = [Float](repeating: .nan, count: 24)
      k.transpose(x, 12, 5, 3, &out, 8)
      return out
    }
  }
}
