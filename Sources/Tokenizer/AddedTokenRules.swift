import GGUF
import Tensor

/// What special and user-defined tokens ask of the text around them: that white space on a side belongs to them, or
/// that no word goes on there.
///
/// Files of our converter list the tokens by their ids. In files without such a list special tokens of Phi 3 take the
/// white space behind them along, as in llama.cpp, which goes by the model's name; so `<|user|>` and a newline is the
/// same as `<|user|>` alone. `tokenizer.ivg.strips_by_name` false says that they do not. Threads: a plain value, shareable.
struct AddedTokenRules: Sendable {
  /// Keys of lists of ids.
  private static let leftKey = "tokenizer.ivg.strips_left"
  private static let rightKey = "tokenizer.ivg.strips_right"
  private static let wordKey = "tokenizer.ivg.single_word"
  private static let normalizedKey = "tokenizer.ivg.normalized"

  /// White space before these belongs to them.
  let strippingLeft: Set<Int32>
  /// White space behind these belongs to them.
  let strippingRight: Set<Int32>
  /// They count only where neither the character before nor the one behind is of a word.
  let singleWords: Set<Int32>
  /// They are found in text when it has been normalized, all others before.
  let normalized: Set<Int32>
  /// Whether the white space behind tokens is that of ASCII only, as in llama.cpp.
  private let isASCIIOnly: Bool

  /// Whether tokens stand for their text and nothing else.
  var isEmpty: Bool { strippingLeft.isEmpty && strippingRight.isEmpty && singleWords.isEmpty }

  /// Whether `token` asks for something.
  func concern(_ token: Int32) -> Bool {
    strippingLeft.contains(token) || strippingRight.contains(token) || singleWords.contains(token)
  }

  /// Those of `file`; `specials` are all that is ever looked for in text. Throws `.corruptFile` naming the field.
  init(file: GGUFFile, vocabulary: Vocabulary, specials: [Int32]) throws(IVGError) {
    let right = try Self.ids(of: file, Self.rightKey, count: vocabulary.count)
    strippingLeft = try Self.ids(of: file, Self.leftKey, count: vocabulary.count) ?? []
    let customary = try Self.customary(file: file, vocabulary: vocabulary, specials: specials)
    strippingRight = right ?? Set(customary)
    singleWords = try Self.ids(of: file, Self.wordKey, count: vocabulary.count) ?? []
    normalized = try Self.ids(of: file, Self.normalizedKey, count: vocabulary.count) ?? []
    isASCIIOnly = right == nil
  }

  /// The ids listed under `key`; nil if the file has no such list.
  private static func ids(
    of file: GGUFFile, _ key: String, count: Int
  ) throws(IVGError) -> Set<Int32>? {
    guard let list = try file.metadata.array(key) else { return nil }
    guard list.count <= count else {
      throw IVGError(
        .corruptFile,
        "\(file.path): \(key) has \(list.count) entries, but the vocabulary only \(count)")
    }
    var found: Set<Int32> = []
    for index in 0..<list.count {
      guard let id = list.int(at: index) else {
        throw IVGError(.corruptFile, "\(file.path): \(key) does not hold integers")
      }
      guard id >= 0, id < Int64(count) else {
        throw IVGError(
          .corruptFile,
          "\(file.path): \(key): entry \(index) is \(id), but the vocabulary has \(count) entries")
      }
      found.insert(Int32(id))
    }
    return found
  }

  /// Those of Phi 3, if the model is called so.
  private static func customary(
    file: GGUFFile, vocabulary: Vocabulary, specials: [Int32]
  ) throws(IVGError) -> [Int32] {
    let name = (try file.metadata.string("general.name") ?? "").lowercased()
    guard name.has(part: "phi-3") || name.has(part: "phi3"),
      try file.metadata.bool("tokenizer.ivg.strips_by_name") != false
    else { return [] }
    return specials.filter { id in
      let text = vocabulary.bytes(of: Int(id))
      return !["<unk>", "<s>", "<|endoftext|>"].contains { text.elementsEqual($0.utf8) }
    }
  }

  /// Whether `token`, written at `range` of `text`, counts there.
  func allow(_ token: Int32, in text: UnsafeRawBufferPointer, at range: Range<Int>) -> Bool {
    guard singleWords.contains(token) else { return true }
    if let before = decodeScalar(text, endingAt: range.lowerBound), Self.isWord(before.scalar) {
      return false
    }
    if range.upperBound < text.count,
      let behind = decodeScalar(text, at: range.upperBound, end: text.count),
      Self.isWord(behind.scalar)
    {
      return false
    }
    return true
  }

  /// `range`, where `token` is written in `text`, with the white space that belongs to it; not before `start`.
  func extent(
    of token: Int32, in text: UnsafeRawBufferPointer, at range: Range<Int>, notBefore start: Int
  ) -> Range<Int> {
    var (first, end) = (range.lowerBound, range.upperBound)
    if strippingLeft.contains(token) {
      while first > start, let (before, length) = decodeScalar(text, endingAt: first),
        Self.isSpace(before)
      {
        first -= length
      }
    }
    if strippingRight.contains(token) {
      while end < text.count, let (behind, length) = decodeScalar(text, at: end, end: text.count),
        Self.isSpace(behind), !isASCIIOnly || behind.isASCII
      {
        end += length
      }
    }
    return max(first, start)..<end
  }

  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.isASCII
      ? ScalarKind(ascii: UInt8(scalar.value)) == .space : scalar.properties.isWhitespace
  }

  /// `\w`
  private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.isASCII {
      let kind = ScalarKind(ascii: UInt8(scalar.value))
      return kind == .letter || kind == .number || scalar == "_"
    }
    let properties = scalar.properties
    if properties.isAlphabetic || properties.isJoinControl { return true }
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation:
      return true
    default: return false
    }
  }
}
