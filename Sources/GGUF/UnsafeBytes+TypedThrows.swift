import Tensor

extension [UInt8] {
  /// `withUnsafeBytes` for a body that throws `IVGError` only; the standard one forgets the type.
  package func withBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws(IVGError) -> Result
  ) throws(IVGError) -> Result {
    let result = withUnsafeBytes { bytes -> Swift.Result<Result, IVGError> in
      do throws(IVGError) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}
