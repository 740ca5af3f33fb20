import Tensor
import Tokenizer

extension Tokenizer {
  /// `encode` of an array of bytes.
  func encode(_ text: [UInt8], parseSpecial: Bool, addBegin: Bool) throws(IVGError) -> [Int32] {
    let result = text.withUnsafeBytes { bytes -> Result<[Int32], IVGError> in
      do throws(IVGError) {
        return .success(try encode(bytes, parseSpecial: parseSpecial, addBegin: addBegin))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }
}
