import GGUF
import Tensor

extension SentencePieceModel {
  /// The order of merging by `tokenizer.ggml.scores`; all alike where the file has none.
  ///
  /// Throws `.corruptFile` if there are too few, or one is not a finite number.
  static func ranks(of file: GGUFFile, count: Int) throws(IVGError) -> FlatBuffer<UInt32> {
    let key = "tokenizer.ggml.scores"
    let ranks = try FlatBuffer<UInt32>(count: count, purpose: "the scores of the vocabulary")
    guard let scores = try file.metadata.array(key) else { return ranks }
    guard scores.count >= count else {
      throw IVGError(
        .corruptFile, "\(file.path): \(key) has \(scores.count) entries for \(count) tokens")
    }
    for id in 0..<count {
      guard let score = scores.float(at: id) ?? scores.int(at: id).map(Double.init) else {
        throw IVGError(.corruptFile, "\(file.path): \(key) does not hold numbers")
      }
      let single = Float(score)
      guard single.isFinite else {
        throw IVGError(
          .corruptFile, "\(file.path): \(key): entry \(id) is \(score); it must be a finite number")
      }
      ranks[id] = rank(ofScore: single)
    }
    return ranks
  }

  /// Smaller for higher scores, equal for equal ones, and never `MergeTable.never`.
  static func rank(ofScore score: Float) -> UInt32 {
    // The bits of floating-point numbers grow with their magnitude; + 0 makes one zero of the two.
    let bits = (score + 0).bitPattern
    return bits & 0x8000_0000 == 0 ? 0x7FFF_FFFF - bits : bits
  }

  /// The token for `byte` in a vocabulary without byte tokens: one called `<0xNN>`, else the byte
  /// itself; -1 if there is neither.
  static func spelledByte(_ byte: UInt8, _ index: TokenIndex) -> Int32 {
    let digits = Array("0123456789ABCDEF".utf8)
    let name =
      Array("<0x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)], UInt8(ascii: ">")]
    if let token = name.withUnsafeBytes({ index.token($0) }) { return token }
    return withUnsafeBytes(of: byte) { index.token($0) } ?? -1
  }
}
