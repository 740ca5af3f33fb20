import CIVGKernels
import Tensor
import TestSupport

/// A weight matrix and rows of activations for tests of products, with everything that a kernel
/// reads.
final class Operands {
  let type: TensorType
  let outputs: Int
  let columns: Int
  let rows: Int
  let bytes: [UInt8]
  let f: [Float]
  var blocks: [civg_block]

  /// Random operands, unless weight bytes (`byte`, scales excepted) or activations (`f`) are given.
  init(
    _ type: TensorType, outputs: Int, columns: Int, rows: Int = 0, seed: UInt64 = 1,
    byte: UInt8? = nil, f given: [Float]? = nil
  ) {
    var random = RandomNumbers(seed: seed)
    self.type = type
    self.outputs = outputs
    self.columns = columns
    let rows = given.map { $0.count / columns } ?? rows
    self.rows = rows
    bytes = ReferenceKernels.weights(
      type, rows: outputs, columns: columns, fill: byte, random: &random)
    f = given ?? random.floats(rows * columns)
    blocks = Array(repeating: civg_block(), count: rows * columns / 32 + 1)
    guard type.isQuantized else { return }
    for r in 0..<rows {
      f.withUnsafeBufferPointer { f in
        blocks.withUnsafeMutableBufferPointer { blocks in
          Kernels.current.table.pointee.quantize_row(
            f.baseAddress! + r * columns, columns, blocks.baseAddress! + r * columns / 32)
        }
      }
    }
  }

  /// The product for rows `range`, computed in pieces of `tilesAtOnce` tiles: [range][outputs].
  func product(
    _ kernels: Kernels, rows range: Range<Int>, tilesAtOnce: Int = .max, mode: Int32 = 0,
    scale: Float = 1, into start: Float = 0
  ) throws -> [Float] {
    let scratch = try AlignedBuffer<UInt8>(
      count: kernels.scratchBytes(rows: range.count, columns: columns))
    var out = Array(repeating: start, count: range.count * outputs)
    try bytes.withUnsafeBytes { bytes in
      let matrix = try WeightMatrix(type: type, data: bytes, outputs: outputs, columns: columns)
      var w = matrix.civg
      f.withUnsafeBufferPointer { f in
        blocks.withUnsafeBufferPointer { blocks in
          let r = range.lowerBound
          var x = civg_rows(
            f: f.baseAddress! + r * columns, blocks: blocks.baseAddress! + r * (columns / 32),
            rows: range.count, columns: columns, f_stride: columns)
          for tile in stride(from: 0, to: matrix.tiles, by: min(tilesAtOnce, matrix.tiles)) {
            let end =
              tilesAtOnce < matrix.tiles ? min(tile + tilesAtOnce, matrix.tiles) : matrix.tiles
            kernels.product(of: type)(
              &w, &x, tile, end, &out, outputs, mode, scale, scratch.pointer)
          }
        }
      }
    }
    return out
  }

  /// Row `r` of the activations as the product takes them.
  func activations(_ r: Int) -> [Double] {
    guard type.isQuantized else { return (0..<columns).map { Double(f[r * columns + $0]) } }
    return blocks[(r * columns / 32)..<((r + 1) * columns / 32)].flatMap { block in
      block.elements.map { Double($0) * Double(block.scale) }
    }
  }

  /// Row `o` of the weights.
  func weights(_ o: Int) -> [Double] {
    let rowBytes = columns / type.blockElements * type.blockBytes
    return ReferenceKernels.decode(
      type, bytes[(o * rowBytes)..<((o + 1) * rowBytes)], columns: columns)
  }
}

/// Bits of every number: what equality means between tables. All NaN count as one.
func bits(_ values: [Float]) -> [UInt32] { values.map { $0.isNaN ? 0x7fc0_0000 : $0.bitPattern } }

extension civg_block {
  /// The elements as whole numbers: low parts, and 128 times the high parts where there are any.
  var elements: [Int] {
    var values = withUnsafeBytes(of: low) { $0.map { Int(Int8(bitPattern: $0)) } }
    for (half, group) in [group.0, group.1].enumerated() {
      withUnsafeBytes(of: half == 0 ? high.0 : high.1) { high in
        for i in 0..<4 { values[Int(group) / 16 + i] += 128 * Int(Int8(bitPattern: high[i])) }
      }
    }
    return values
  }
}
