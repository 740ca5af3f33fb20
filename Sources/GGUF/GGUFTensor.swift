import Tensor

/// Where one tensor lies in a file, and how it is encoded. All of it has been checked against the
/// file.
package struct GGUFTensor: Sendable {
  package let name: String
  package let type: TensorType
  /// Extents in GGUF order: `shape[0]` is the number of columns and runs fastest. 1 to 4 entries,
  /// none of them zero; their product fits in an `Int`.
  package let shape: [Int]
  /// Position of the first byte, counted from the beginning of the file.
  package let offset: Int
  /// Encoded size: `rows` times the bytes of a row.
  package let byteCount: Int

  /// Length of a row; a multiple of `type.blockElements`.
  package var columns: Int { shape[0] }

  /// Number of rows: the product of all extents but the first.
  package var rows: Int { shape.dropFirst().reduce(1, *) }
}
