import CIVGKernels

extension WeightMatrix {
  /// The product of `rows` with the outputs of `tiles`, see `civg_matmul_fn`. Threads share a product by
  /// disjoint tiles; `scratch` is the calling thread's own, `civg_matmul_scratch(rows)` bytes.
  package func multiply(
    _ rows: civg_rows, tiles: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int,
    mode: Int32, scale: Float, scratch: UnsafeMutableRawPointer, kernels: Kernels
  ) {
    var matrix = civg
    var rows = rows
    kernels.product(of: type)(
      &matrix, &rows, tiles.lowerBound, tiles.upperBound, out, stride, mode, scale, scratch)
  }

  /// The matrix that has only row `index` of this one.
  package func rowView(_ index: Int) -> WeightMatrix {
    precondition(index >= 0 && index < outputs, "a row outside the matrix")
    return WeightMatrix(
      uncheckedType: type, data: data + index * rowBytes, outputs: 1, columns: columns)
  }

  /// Decodes row `index` into `out` [columns].
  package func dequantize(
    row index: Int, into out: UnsafeMutablePointer<Float>, kernels: Kernels
  ) {
    precondition(index >= 0 && index < outputs, "a row outside the matrix")
    kernels.dequantize(type)(data + index * rowBytes, columns, out)
  }
}
