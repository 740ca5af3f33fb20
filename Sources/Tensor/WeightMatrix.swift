import CIVGKernels

/// A weight matrix in mapped memory: `outputs` rows of `columns` elements, encoded as the file has
/// them.
///
/// Borrows its bytes: whoever owns the map must outlive every use. Immutable, so any thread may
/// read it.
package struct WeightMatrix: @unchecked Sendable {
  /// How elements are encoded.
  package let type: TensorType
  /// Rows; the length of a product's result.
  package let outputs: Int
  /// Elements per row; the length of a product's argument.
  package let columns: Int
  /// The first byte of the first row. Needs no alignment.
  package let data: UnsafeRawPointer

  /// A view of the first rows in `data`. Throws `.corruptFile` if a row is no whole number of
  /// blocks, if a dimension is not positive, or if `data` holds fewer bytes than the rows need.
  /// `name` is for the message.
  package init(
    type: TensorType, data: UnsafeRawBufferPointer, outputs: Int, columns: Int,
    name: String = "tensor"
  ) throws(IVGError) {
    guard outputs > 0, columns > 0, columns % type.blockElements == 0 else {
      throw IVGError(
        .corruptFile,
        "\(name): \(outputs) x \(columns) elements of type \(type.name) do not form blocks of "
          + "\(type.blockElements)")
    }
    let (rowBytes, rowOverflow) = (columns / type.blockElements)
      .multipliedReportingOverflow(by: type.blockBytes)
    let (bytes, overflow) = rowBytes.multipliedReportingOverflow(by: outputs)
    guard !rowOverflow, !overflow, bytes <= data.count, let base = data.baseAddress else {
      throw IVGError(
        .corruptFile,
        "\(name): \(outputs) x \(columns) elements of type \(type.name) need more than the "
          + "\(data.count) bytes that are there")
    }
    self.type = type
    self.outputs = outputs
    self.columns = columns
    self.data = base
  }

  /// A view over memory that the caller has checked to hold `outputs` whole rows.
  init(uncheckedType type: TensorType, data: UnsafeRawPointer, outputs: Int, columns: Int) {
    self.type = type
    self.outputs = outputs
    self.columns = columns
    self.data = data
  }

  /// Bytes from one row to the next.
  package var rowBytes: Int { columns / type.blockElements * type.blockBytes }

  /// Tiles of 16 outputs that a product goes through.
  package var tiles: Int { (outputs + Int(CIVG_TILE) - 1) / Int(CIVG_TILE) }

  /// The same view as the kernels take it.
  package var civg: civg_matrix {
    civg_matrix(
      data: data, row_bytes: rowBytes, outputs: outputs, columns: columns, type: type.rawValue,
      ahead: nil, ahead_bytes: 0)
  }
}
