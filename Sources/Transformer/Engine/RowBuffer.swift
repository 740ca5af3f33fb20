import CIVGKernels
import Tensor

/// Rows of activations: as floats, and rounded to int8 by blocks for products with quantised weights.
///
/// A paired buffer keeps of each row also what the rounding left, rounded too: about 15 bits instead of 8,
/// for twice the integer products. Weights are read once all the same.
struct RowBuffer {
  let width: Int
  private let isPaired: Bool
  let values: UnsafeMutablePointer<Float>  // [rows, width]
  private let quantized: UnsafeMutablePointer<Int8>  // [rows, parts, width]
  private let scales: UnsafeMutablePointer<Float>  // [rows, parts, width / 32]
  private let sums: UnsafeMutablePointer<Int16>  // [rows, parts, width / 16]
  /// False where the width is no multiple of a block: then no weight of that width is quantised.
  private let canQuantize: Bool

  /// Bytes of one row.
  static func bytes(width: Int) -> Int { width * 4 + 2 * (width + width / 32 * 4 + width / 16 * 2) }

  init(width: Int, rows: Int, isPaired: Bool, arena: inout Arena) {
    self.width = width
    self.isPaired = isPaired
    let parts = isPaired ? 2 * rows : rows
    values = arena.take(Float.self, count: rows * width)
    quantized = arena.take(Int8.self, count: parts * width)
    scales = arena.take(Float.self, count: parts * (width / Int(CIVG_BLOCK)))
    sums = arena.take(Int16.self, count: parts * (width / 16))
    canQuantize = width % Int(CIVG_BLOCK) == 0
  }

  func row(_ index: Int) -> UnsafeMutablePointer<Float> { values + index * width }

  /// Rounds row `index`; to be called after its floats have changed.
  func quantize(_ index: Int, kernels: Kernels) {
    guard canQuantize else { return }
    let first = isPaired ? 2 * index : index
    let quantize =
      isPaired ? kernels.table.pointee.quantize_pair : kernels.table.pointee.quantize_row
    quantize!(
      values + index * width, width, quantized + first * width,
      scales + first * (width / Int(CIVG_BLOCK)), sums + first * (width / 16))
  }

  /// The input of a product: `count` rows from `first`.
  func rows(_ first: Int, _ count: Int) -> civg_rows {
    let part = isPaired ? 2 * first : first
    return civg_rows(
      f: values + first * width, q: quantized + part * width,
      d: scales + part * (width / Int(CIVG_BLOCK)), sums: sums + part * (width / 16),
      rows: count, columns: width, f_stride: width, paired: isPaired ? 1 : 0)
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
