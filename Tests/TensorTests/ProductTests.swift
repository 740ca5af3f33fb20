import CIVGKernels
import Tensor
import TestSupport
import Testing

/// Matrix products of every type with every table that this CPU can run.
@Suite struct ProductTests {
  @Test(arguments: TensorType.allCases)
  func agreesWithDoublePrecision(_ type: TensorType) throws {
    for (outputs, columns, rows) in [(37, 512, 9), (1, 256, 3), (16, 1280, 33), (64, 64, 7)]
    where columns % type.blockElements == 0 {
      let operands = Operands(type, outputs: outputs, columns: columns, rows: rows)
      let activations = (0..<rows).map { operands.activations($0) }
      let weights = (0..<outputs).map { operands.weights($0) }
      for kernels in Kernels.available {
        let out = try operands.product(kernels, rows: 0..<rows)
        for r in 0..<rows {
          for o in 0..<outputs {
            let (sum, size) = ReferenceKernels.dot(activations[r], weights[o])
            let error = abs(sum - Double(out[r * outputs + o]))
            #expect(error <= 2e-6 * size, "\(kernels.name) \(type) row \(r) output \(o)")
          }
        }
      }
    }
  }

  @Test(arguments: TensorType.allCases)
  func doesNotDependOnCompany(_ type: TensorType) throws {
    let operands = Operands(type, outputs: 53, columns: 1536, rows: 33, seed: 2)
    var expected: [UInt32]?
    for kernels in Kernels.available {
      let all = bits(try operands.product(kernels, rows: 0..<33))
      #expect(all == expected ?? all, "\(kernels.name) differs from another table")
      expected = all
      for rows in [
        0..<1, 7..<8, 32..<33, 0..<2, 1..<4, 3..<7, 5..<10, 2..<8, 1..<8, 9..<17, 4..<13,
      ] {
        let some = bits(try operands.product(kernels, rows: rows, tilesAtOnce: 1))
        #expect(
          some == Array(all[(rows.lowerBound * 53)..<(rows.upperBound * 53)]),
          "\(kernels.name) rows \(rows)")
      }
    }
  }

  /// Outliers of any size, anywhere: the product is nearly that of the floats all the same.
  @Test(arguments: TensorType.allCases.filter(\.isQuantized))
  func outliersSpareTheirNeighbours(_ type: TensorType) throws {
    var f = RandomNumbers(seed: 5).floatsCopy(512 * 6)
    for r in 0..<6 {
      for (place, i) in [3, 17, 40, 300, 301, 511].enumerated() {
        f[r * 512 + i] = [20, -90, 1, 300, -120, 60][(place + r) % 6]
      }
    }
    let operands = Operands(type, outputs: 37, columns: 512, f: f)
    var expected: [UInt32]?
    for kernels in Kernels.available {
      let out = try operands.product(kernels, rows: 0..<6)
      #expect(bits(out) == expected ?? bits(out), "\(kernels.name) differs from another table")
      expected = bits(out)
      for r in 0..<6 {
        let exact = (0..<512).map { Double(f[r * 512 + $0]) }
        for o in 0..<37 {
          let (truth, size) = ReferenceKernels.dot(exact, operands.weights(o))
          #expect(abs(truth - Double(out[r * 37 + o])) <= 2e-3 * size)
        }
      }
    }
  }

  @Test(arguments: [TensorType.f32, .f16, .bf16], [1, 2, 3, 5, 7, 8, 9, 15, 263])
  func floatRowsOfAnyLength(_ type: TensorType, _ columns: Int) throws {
    let operands = Operands(type, outputs: 18, columns: columns, rows: 6, seed: 3)
    var expected: [UInt32]?
    for kernels in Kernels.available {
      let out = try operands.product(kernels, rows: 0..<6)
      #expect(bits(out) == expected ?? bits(out))
      expected = bits(out)
      #expect(try operands.product(kernels, rows: 4..<5) == Array(out[(4 * 18)..<(5 * 18)]))
      for o in 0..<18 {
        let (sum, size) = ReferenceKernels.dot(operands.activations(1), operands.weights(o))
        #expect(abs(sum - Double(out[18 + o])) <= 2e-6 * size)
      }
    }
  }

  @Test(arguments: [TensorType.f16, .q8_0, .q4_K, .q6_K])
  func addsToWhatIsThere(_ type: TensorType) throws {
    let operands = Operands(type, outputs: 20, columns: 256, rows: 7, seed: 4)
    for kernels in Kernels.available {
      let plain = try operands.product(kernels, rows: 0..<7)
      let added = try operands.product(
        kernels, rows: 0..<7, mode: Int32(CIVG_ADD), scale: 0.25, into: 3)
      #expect(added == plain.map { Float(3).addingProduct(0.25, $0) })
    }
  }

  @Test func extremeBytesDoNotSaturate() throws {
    // Largest weights against largest activations: where a 16-bit intermediate would overflow.
    for type in TensorType.allCases where type.isQuantized {
      for byte: UInt8 in [0x00, 0x7f, 0x80, 0xff] {
        let operands = Operands(type, outputs: 16, columns: 256, rows: 5, seed: 5)
        for i in operands.blocks.indices { operands.blocks[i].makeExtreme(turn: i) }
        let filled = Operands(operands, byte: byte)
        var expected: [UInt32]?
        for kernels in Kernels.available {
          let out = try filled.product(kernels, rows: 0..<5)
          #expect(bits(out) == expected ?? bits(out), "\(kernels.name) \(type) \(byte)")
          expected = bits(out)
          let (sum, size) = ReferenceKernels.dot(filled.activations(2), filled.weights(3))
          if sum.isFinite {
            #expect(
              abs(sum - Double(out[2 * 16 + 3])) <= 2e-6 * size, "\(kernels.name) \(type) \(byte)")
          }
        }
      }
    }
  }

  @Test func aNaNIsNeverLost() throws {
    for type in TensorType.allCases {
      var f = RandomNumbers(seed: 6).floatsCopy(256 * 6)
      f[256 * 2 + 70] = .nan
      f[256 * 4 + 1] = .infinity
      let operands = Operands(type, outputs: 17, columns: 256, f: f)
      for kernels in Kernels.available {
        let out = try operands.product(kernels, rows: 0..<6)
        for r in 0..<6 {
          let row = out[(r * 17)..<((r + 1) * 17)]
          if r == 2 { #expect(row.allSatisfy { $0.isNaN }, "\(kernels.name) \(type)") }
          if r == 4 { #expect(row.allSatisfy { !$0.isFinite }, "\(kernels.name) \(type)") }
          if r % 2 == 1 || r == 0 { #expect(row.allSatisfy { $0.isFinite }) }
        }
      }
    }
  }

  @Test(arguments: TensorType.allCases)
  func decodes(_ type: TensorType) {
    let operands = Operands(type, outputs: 3, columns: 512, rows: 1, seed: 7)
    let rowBytes = 512 / type.blockElements * type.blockBytes
    for kernels in Kernels.available {
      for o in 0..<3 {
        var out = [Float](repeating: 0, count: 512)
        operands.bytes.withUnsafeBytes {
          kernels.dequantize(type)($0.baseAddress! + o * rowBytes, 512, &out)
        }
        for (value, exact) in zip(out, operands.weights(o)) {
          #expect(abs(Double(value) - exact) <= 4e-7 * (abs(exact) + 1))
        }
      }
    }
  }
}

extension Operands {
  /// The same with every weight byte that is not a scale replaced.
  convenience init(_ other: Operands, byte: UInt8) {
    self.init(
      other.type, outputs: other.outputs, columns: other.columns, rows: other.rows, byte: byte)
    blocks = other.blocks
  }
}

extension civg_block {
  /// Every part as large as it may be, in changing places and signs.
  fileprivate mutating func makeExtreme(turn: Int) {
    func sign(_ i: Int) -> Int8 { turn % 4 < 2 || (i + turn) % 3 == 0 ? -127 : 127 }
    group = (UInt16(64 * (turn % 4)), UInt16(64 * (4 + turn / 4 % 4)))
    withUnsafeMutableBytes(of: &low) { low in
      for i in 0..<32 { low[i] = UInt8(bitPattern: sign(i)) }
    }
    withUnsafeMutableBytes(of: &high) { high in
      for i in 0..<8 { high[i] = UInt8(bitPattern: sign(i)) }
    }
    let values = elements
    sums = (Int32(values[..<16].reduce(0, +)), Int32(values[16...].reduce(0, +)))
    sum = sums.0 + sums.1
    scale = 0.01
    scaled_sum = scale * Float(sum)
  }
}

extension RandomNumbers {
  func floatsCopy(_ count: Int) -> [Float] {
    var copy = self
    return copy.floats(count)
  }
}
