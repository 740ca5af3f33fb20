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
  let isPaired: Bool
  let bytes: [UInt8]
  let f: [Float]
  var q: [Int8]
  var d: [Float]
  var sums: [Int16]

  /// Random operands, unless weight bytes (`byte`, scales excepted) or activations (`f`) are given.
  init(
    _ type: TensorType, outputs: Int, columns: Int, rows: Int = 0, seed: UInt64 = 1,
    byte: UInt8? = nil, f given: [Float]? = nil, isPaired: Bool = false
  ) {
    var random = RandomNumbers(seed: seed)
    self.type = type
    self.outputs = outputs
    self.columns = columns
    let rows = given.map { $0.count / columns } ?? rows
    self.rows = rows
    self.isPaired = isPaired
    let parts = isPaired ? 2 * rows : rows
    bytes = ReferenceKernels.weights(
      type, rows: outputs, columns: columns, fill: byte, random: &random)
    f = given ?? random.floats(rows * columns)
    q = Array(repeating: 0, count: parts * columns)
    d = Array(repeating: 0, count: parts * columns / 32 + 1)
    sums = Array(repeating: 0, count: parts * columns / 16 + 1)
    if type.isQuantized { quantize(.current) }
  }

  /// Rounds the activations as a caller would.
  private func quantize(_ kernels: Kernels) {
    for r in 0..<rows {
      f.withUnsafeBufferPointer { f in
        q.withUnsafeMutableBufferPointer { q in
          d.withUnsafeMutableBufferPointer { d in
            sums.withUnsafeMutableBufferPointer { sums in
              let part = isPaired ? 2 * r : r
              let quantize =
                isPaired
                ? kernels.table.pointee.quantize_pair : kernels.table.pointee.quantize_row
              quantize!(
                f.baseAddress! + r * columns, columns, q.baseAddress! + part * columns,
                d.baseAddress! + part * columns / 32, sums.baseAddress! + part * columns / 16)
            }
          }
        }
      }
    }
  }

  /// The product for rows `range`, computed in pieces of `tilesAtOnce` tiles: [range][outputs].
  func product(
    _ kernels: Kernels, rows range: Range<Int>, tilesAtOnce: Int = .max, mode: Int32 = 0,
    scale: Float = 1, into start: Float = 0
  ) throws -> [Float] {
    let scratch = try AlignedBuffer<UInt8>(count: Kernels.scratchBytes(rows: 2 * range.count))
    var out = Array(repeating: start, count: range.count * outputs)
    try bytes.withUnsafeBytes { bytes in
      let matrix = try WeightMatrix(type: type, data: bytes, outputs: outputs, columns: columns)
      var w = matrix.civg
      f.withUnsafeBufferPointer { f in
        q.withUnsafeBufferPointer { q in
          d.withUnsafeBufferPointer { d in
            sums.withUnsafeBufferPointer { sums in
              let r = range.lowerBound
              let part = isPaired ? 2 * r : r
              var x = civg_rows(
                f: f.baseAddress! + r * columns, q: q.baseAddress! + part * columns,
                d: d.baseAddress! + part * columns / 32,
                sums: sums.baseAddress! + part * columns / 16,
                rows: range.count, columns: columns, f_stride: columns, paired: isPaired ? 1 : 0)
              for tile in stride(from: 0, to: matrix.tiles, by: min(tilesAtOnce, matrix.tiles)) {
                let end =
                  tilesAtOnce < matrix.tiles ? min(tile + tilesAtOnce, matrix.tiles) : matrix.tiles
                kernels.product(of: type)(
                  &w, &x, tile, end, &out, outputs, mode, scale, scratch.pointer)
              }
            }
          }
        }
      }
    }
    return out
  }

  /// Row `r` of the activations as the product takes them.
  func activations(_ r: Int) -> [Double] {
    guard type.isQuantized else { return (0..<columns).map { Double(f[r * columns + $0]) } }
    func part(_ row: Int) -> [Double] {
      (0..<columns).map { Double(q[row * columns + $0]) * Double(d[(row * columns + $0) / 32]) }
    }
    return isPaired ? zip(part(2 * r), part(2 * r + 1)).map { $0 + $1 } : part(r)
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
