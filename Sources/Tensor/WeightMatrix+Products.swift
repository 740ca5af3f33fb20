import CIVGKernels

extension WeightMatrix {
  /// The product of `rows` with the outputs of `tiles`, see `civg_matmul_fn`. Threads share a product by
  /// disjoint tiles; `scratch` is the calling thread's own, `Kernels.scratchBytes` of it. `ahead`: what
  /// the thread reads next, asked for meanwhile.
  package func multiply(
    _ rows: civg_rows, tiles: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int,
    mode: Int32, scale: Float, scratch: UnsafeMutableRawPointer,
    ahead: UnsafeRawBufferPointer? = nil, kernels: Kernels
  ) {
    var matrix = civg
    if let ahead { (matrix.ahead, matrix.ahead_bytes) = (ahead.baseAddress, ahead.count) }
    var rows = rows
    kernels.product(of: type)(
      &matrix, &rows, tiles.lowerBound, tiles.upperBound, out, stride, mode, scale, scratch)
  }

  /// The stored bytes of these tiles.
  package func bytes(ofTiles tiles: Range<Int>) -> UnsafeRawBufferPointer {
    let first = min(tiles.lowerBound * Int(CIVG_TILE), outputs)
    let end = min(tiles.upperBound * Int(CIVG_TILE), outputs)
    return UnsafeRawBufferPointer(start: data + first * rowBytes, count: (end - first) * rowBytes)
  }

  /// The matrix that has only these rows of this one.
  package func rows(_ rows: Range<Int>) -> WeightMatrix {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= outputs, "rows outside the matrix")
    return WeightMatrix(
      uncheckedType: type, data: data + rows.lowerBound * rowBytes, outputs: rows.count,
      columns: columns)
  }

  /// Decodes row `index` into `out` [columns].
  package func dequantize(
    row index: Int, into out: UnsafeMutablePointer<Float>, kernels: Kernels
  ) {
    precondition(index >= 0 && index < outputs, "a row outside the matrix")
    kernels.dequantize(type)(data + index * rowBytes, columns, out)
  }
}
