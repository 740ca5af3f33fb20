import CIVGKernels
import Tensor

/// Rows of activations: as floats, and rounded (`civg_block`) for products with quantised weights.
struct RowBuffer {
  let width: Int
  let values: UnsafeMutablePointer<Float>  // [rows, width]
  private let blocks: UnsafeMutablePointer<civg_block>  // [rows, width / 32]
  /// False where the width is no multiple of a block: then no weight of that width is quantised.
  private let canQuantize: Bool

  /// Bytes of one row.
  static func bytes(width: Int) -> Int {
    width * 4 + width / Int(CIVG_BLOCK) * MemoryLayout<civg_block>.stride
  }

  init(width: Int, rows: Int, arena: inout Arena) {
    self.width = width
    values = arena.take(Float.self, count: rows * width)
    blocks = arena.take(civg_block.self, count: rows * (width / Int(CIVG_BLOCK)))
    canQuantize = width % Int(CIVG_BLOCK) == 0
  }

  func row(_ index: Int) -> UnsafeMutablePointer<Float> { values + index * width }

  /// Rounds row `index`; to be called after its floats have changed.
  func quantize(_ index: Int, kernels: Kernels) {
    quantize(index, columns: 0..<width, kernels: kernels)
  }

  /// Rounds some columns of row `index`: whole blocks, unless the row is never rounded.
  func quantize(_ index: Int, columns: Range<Int>, kernels: Kernels) {
    guard canQuantize else { return }
    let block = Int(CIVG_BLOCK)
    kernels.table.pointee.quantize_row(
      values + index * width + columns.lowerBound, columns.count,
      blocks + index * (width / block) + columns.lowerBound / block)
  }

  /// Makes row `target` a copy of row `source` of a buffer of the same width.
  func copy(_ source: Int, of other: RowBuffer, to target: Int) {
    row(target).update(from: other.row(source), count: width)
    guard canQuantize else { return }
    let count = width / Int(CIVG_BLOCK)
    (blocks + target * count).update(from: other.blocks + source * count, count: count)
  }

  /// The input of a product: `count` rows from `first`.
  func rows(_ first: Int, _ count: Int) -> civg_rows {
    civg_rows(
      f: values + first * width, blocks: blocks + first * (width / Int(CIVG_BLOCK)), rows: count,
      columns: width, f_stride: width)
  }
}

/// Hands out aligned pieces of one allocation.
struct Arena {
  private var next: UnsafeMutableRawPointer
  private let end: UnsafeMutableRawPointer

  init(_ buffer: AlignedBuffer<UInt8>) {
    next = UnsafeMutableRawPointer(buffer.pointer)
    end = next + buffer.count
  }

  /// Bytes that a piece takes, with its alignment.
  static func bytes<T>(_ type: T.Type, count: Int) -> Int {
    (count * MemoryLayout<T>.stride + 63) / 64 * 64
  }

  mutating func take<T: BitwiseCopyable>(_ type: T.Type, count: Int) -> UnsafeMutablePointer<T> {
    let size = Self.bytes(type, count: count)
    precondition(next + size <= end, "the arena was sized for less")
    defer { next += size }
    return next.bindMemory(to: type, capacity: max(count, 1))
  }
}
