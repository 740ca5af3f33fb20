import GGUF
import Tensor

/// Every token's bytes and kind, in one arena.
///
/// Bytes are what the token stands for in text: spelling (see `TokenSpelling`) is undone, while
/// control tokens are verbatim. Ownership: the arena lives as long as the object. Threads:
/// immutable after `init`, shareable.
final class Vocabulary: Sendable {
  /// More entries than this are refused; ids then fit 24 bits.
  static let maximumCount = 1 << 24

  /// Number of entries.
  let count: Int

  /// Length in bytes of the longest token.
  let longest: Int

  /// All tokens' bytes, one after another.
  private let arena: FlatBuffer<UInt8>

  /// Where each token begins in `arena`; one more entry than tokens.
  private let offsets: FlatBuffer<UInt32>

  /// Kind in the low four bits, and the flags below.
  private let kinds: FlatBuffer<UInt8>

  /// The flag of entries that plain text can become.
  private static let spelledFlag: UInt8 = 0x10

  /// The flag of entries that only fill up the table: unused, empty, or named `[PAD<own id>]`.
  private static let paddingFlag: UInt8 = 0x20

  /// The flag of entries whose bytes are as the file has them.
  private static let verbatimFlag: UInt8 = 0x40

  /// Reads `tokenizer.ggml.tokens` and, where present, `tokenizer.ggml.token_type`.
  ///
  /// Throws `.corruptFile` naming the field (missing, not strings, too many or too long, fewer
  /// types than tokens, a byte token that is none) and `.outOfMemory`. Nothing of `file` is kept.
  init(file: GGUFFile, spelling: TokenSpelling) throws(IVGError) {
    let tokens = try Self.tokens(of: file)
    let types = try Self.types(of: file, count: tokens.count)
    var total = 0
    for id in 0..<tokens.count {
      guard let text = tokens.string(at: id) else {
        throw IVGError(
          .corruptFile, "\(file.path): tokenizer.ggml.tokens: entry \(id) is not a string")
      }
      let (sum, overflow) = total.addingReportingOverflow(text.count)
      guard !overflow, sum <= Int(UInt32.max) else {
        throw IVGError(
          .corruptFile,
          "\(file.path): tokenizer.ggml.tokens: more than \(UInt32.max) bytes of text in all")
      }
      total = sum
    }
    count = tokens.count
    arena = try FlatBuffer(count: total, purpose: "the bytes of the vocabulary")
    offsets = try FlatBuffer(count: tokens.count + 1, purpose: "the vocabulary's offsets")
    kinds = try FlatBuffer(count: tokens.count, purpose: "the vocabulary's token kinds")

    var used = 0
    var longest = 0
    for id in 0..<tokens.count {
      // Checked again: another process may have changed the file meanwhile.
      guard let text = tokens.string(at: id), text.count <= total - used else {
        throw IVGError(.corruptFile, "\(file.path): tokenizer.ggml.tokens changed while being read")
      }
      let kind = Self.kind(of: id, text, types, spelling)
      guard let result = spelling.decode(text, kind: kind, to: arena.base + used) else {
        throw IVGError(
          .corruptFile,
          "\(file.path): tokenizer.ggml.tokens: entry \(id) is a byte token, but not written <0xNN>"
        )
      }
      var flags = kind.rawValue
      if result.isSpelled { flags |= Self.spelledFlag }
      if result.isVerbatim { flags |= Self.verbatimFlag }
      if kind == .unused || Self.isPadding(text, id: id) { flags |= Self.paddingFlag }
      kinds[id] = flags
      used += result.length
      longest = max(longest, result.length)
      offsets[id + 1] = UInt32(truncatingIfNeeded: used)
    }
    self.longest = longest
  }

  /// Bytes of token `id`, borrowed from this object; the caller has checked the range.
  @inline(__always)
  func bytes(of id: Int) -> UnsafeRawBufferPointer {
    let start = Int(offsets[id])
    return UnsafeRawBufferPointer(start: arena.base + start, count: Int(offsets[id + 1]) - start)
  }

  /// Kind of token `id`; the caller has checked the range.
  @inline(__always)
  func kind(of id: Int) -> TokenKind {
    TokenKind(rawValue: kinds[id] & 0x0F) ?? .normal
  }

  /// Whether the token can come out of merging: never true of a control token, so that text can
  /// never spell one.
  func isSpelled(_ id: Int) -> Bool {
    kinds[id] & Self.spelledFlag != 0
  }

  /// Whether the token's bytes are its text in the file, by which text is searched for it.
  func isVerbatim(_ id: Int) -> Bool {
    kinds[id] & Self.verbatimFlag != 0
  }

  /// Whether the entry merely fills up the table.
  func isPadding(_ id: Int) -> Bool {
    kinds[id] & Self.paddingFlag != 0
  }
}

extension Vocabulary {
  /// The checked token list of `file`.
  private static func tokens(of file: GGUFFile) throws(IVGError) -> GGUFArray {
    let key = "tokenizer.ggml.tokens"
    guard let tokens = try file.metadata.array(key) else {
      throw IVGError(.corruptFile, "\(file.path): \(key) is missing: the file has no vocabulary")
    }
    guard tokens.count > 0, tokens.count <= maximumCount else {
      throw IVGError(
        .corruptFile,
        "\(file.path): \(key) has \(tokens.count) entries; 1 to \(maximumCount) are possible")
    }
    return tokens
  }

  /// The checked list of token types, nil when the file has none.
  private static func types(of file: GGUFFile, count: Int) throws(IVGError) -> GGUFArray? {
    let key = "tokenizer.ggml.token_type"
    guard let types = try file.metadata.array(key) else { return nil }
    guard types.count >= count else {
      throw IVGError(
        .corruptFile,
        "\(file.path): \(key) has \(types.count) entries for \(count) tokens")
    }
    guard types.int(at: 0) != nil else {
      throw IVGError(.corruptFile, "\(file.path): \(key) does not hold integers")
    }
    return types
  }

  /// The kind of entry `id`, by the file's `types` if it has some.
  private static func kind(
    of id: Int, _ text: UnsafeRawBufferPointer, _ types: GGUFArray?, _ spelling: TokenSpelling
  ) -> TokenKind {
    if let types { return TokenKind(fileValue: types.int(at: id) ?? 1) }
    if case .pieces = spelling { return TokenSpelling.likelyKind(text) }
    return .normal
  }

  /// Whether `text` is empty or the name that converters give to a missing entry: `[PAD<id>]`.
  private static func isPadding(_ text: UnsafeRawBufferPointer, id: Int) -> Bool {
    if text.isEmpty { return true }
    guard text.count > 5, text[0] == UInt8(ascii: "["), text[1] == UInt8(ascii: "P") else {
      return false
    }
    return text.elementsEqual("[PAD\(id)]".utf8)
  }
}
