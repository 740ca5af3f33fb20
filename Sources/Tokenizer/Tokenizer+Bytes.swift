import GGUF
import Tensor

extension Tokenizer {
  /// `encode` of an array of bytes.
  package func encode(
    _ text: [UInt8], parseSpecial: Bool, addBegin: Bool, continues: Bool = false
  ) throws(IVGError) -> [Int32] {
    try text.withBytes { bytes throws(IVGError) in
      try encode(bytes, parseSpecial: parseSpecial, addBegin: addBegin, continues: continues)
    }
  }
}
