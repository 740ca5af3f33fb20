import CIVGKernels
import Tensor
import TestSupport
import Testing

/// Matrix products of every type with every table that this CPU can run.
@Suite struct ProductTests {
  @Test(arguments: TensorType.allCases)
  func agreesWithDoublePrecision(_ type: TensorType) throws {
    for (outputs, columns, rows) in [(37, 512, 9), (1, 256, 3), (16, 1280, 33)] {
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

  @Test(arguments: TensorType.allCases.filter(\.isQuantized))
  func pairedRowsAddTheirParts(_ type: TensorType) throws {
    let operands = Operands(type, outputs: 37, columns: 512, rows: 11, seed: 5, isPaired: true)
    var expected: [UInt32]?
    for kernels in Kernels.available {
      let out = try operands.product(kernels, rows: 0..<11)
      #expect(bits(out) == expected ?? bits(out), "\(kernels.name) differs from another table")
      expected = bits(out)
      for rows in [0..<1, 10..<11, 1..<3, 2..<5, 3..<7, 4..<9] {
        #expect(
          try bits(operands.product(kernels, rows: rows, tilesAtOnce: 1))
            == bits(Array(out[(rows.lowerBound * 37)..<(rows.upperBound * 37)])))
      }
      for r in 0..<11 {
        // Both the parts as they are and the floats that they stand for.
        let exact = (0..<512).map { Double(operands.f[r * 512 + $0]) }
        for o in 0..<37 {
          let (sum, size) = ReferenceKernels.dot(operands.activations(r), operands.weights(o))
          #expect(abs(sum - Double(out[r * 37 + o])) <= 3e-6 * size)
          let (truth, _) = ReferenceKernels.dot(exact, operands.weights(o))
          #expect(abs(truth - Double(out[r * 37 + o])) <= 1e-4 * size)
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
        for i in operands.q.indices { operands.q[i] = i % 3 == 0 ? -127 : 127 }
        for i in 0..<(5 * 16) {
          operands.sums[i] = (0..<16).reduce(0) { $0 + Int16(operands.q[i * 16 + $1]) }
        }
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
    q = other.q
    sums = other.sums
  }
}

extension RandomNumbers {
  func floatsCopy(_ count: Int) -> [Float] {
    var copy = self
    return copy.floats(count)
  }
}
