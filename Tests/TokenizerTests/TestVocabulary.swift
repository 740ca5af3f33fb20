import GGUF
import Glibc
import TestSupport
import Testing
import Tokenizer

/// A GGUF file of metadata alone, made up for one test.
struct TestVocabulary {
  /// The file's bytes after the header, and how many keys they hold.
  private var body: [UInt8] = []
  private var keys: UInt64 = 0

  /// A file without any keys.
  init() {}

  /// A byte-level vocabulary of the 256 bytes, then `merged` (each "left right"), then `special`
  /// with their token types.
  init(pre: String, merged: [String], special: [(String, Int32)] = []) {
    var tokens = Self.alphabet
    for merge in merged {
      let token = merge.split(separator: " ").joined()
      if !tokens.contains(token) { tokens.append(token) }
    }
    let types = [Int32](repeating: 1, count: tokens.count) + special.map(\.1)
    add("general.architecture", string: "llama")
    add("tokenizer.ggml.model", string: "gpt2")
    add("tokenizer.ggml.pre", string: pre)
    add("tokenizer.ggml.tokens", strings: tokens + special.map(\.0))
    add("tokenizer.ggml.token_type", integers: types)
    add("tokenizer.ggml.merges", strings: merged)
  }

  /// A SentencePiece vocabulary: `<unk>`, `<s>`, `</s>`, the 256 byte tokens unless `bytes` is
  /// false, then `pieces` with their scores and kinds.
  init(pieces: [(String, Float, Int32)], bytes: Bool = true) {
    var all: [(String, Float, Int32)] = [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3)]
    if bytes {
      all += (0..<256).map { byte in
        let digits = String(byte, radix: 16, uppercase: true)
        return ("<0x" + (byte < 16 ? "0" : "") + digits + ">", 0, 6)
      }
    }
    all += pieces
    add("general.architecture", string: "llama")
    add("tokenizer.ggml.model", string: "llama")
    add("tokenizer.ggml.tokens", strings: all.map(\.0))
    add("tokenizer.ggml.scores", numbers: all.map(\.1))
    add("tokenizer.ggml.token_type", integers: all.map(\.2))
  }

  /// The byte alphabet in the order of the bytes: token `n` is byte `n`.
  static let alphabet: [String] = {
    var next: UInt32 = 0x100
    return (0..<256).map { byte in
      if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE {
        return String(Unicode.Scalar(UInt8(byte)))
      }
      next += 1
      return String(Unicode.Scalar(next - 1)!)
    }
  }()

  /// Adds a string.
  mutating func add(_ key: String, string: String) {
    begin(key, type: 8)
    put(string)
  }

  /// Adds an unsigned integer.
  mutating func add(_ key: String, integer: UInt32) {
    begin(key, type: 4)
    put(integer)
  }

  /// Adds a truth value.
  mutating func add(_ key: String, bool: Bool) {
    begin(key, type: 7)
    body.append(bool ? 1 : 0)
  }

  /// Adds an array of strings.
  mutating func add(_ key: String, strings: [String]) {
    begin(key, type: 9)
    put(UInt32(8))
    put(UInt64(strings.count))
    for string in strings { put(string) }
  }

  /// Adds an array of integers.
  mutating func add(_ key: String, integers: [Int32]) {
    begin(key, type: 9)
    put(UInt32(5))
    put(UInt64(integers.count))
    for integer in integers { put(UInt32(bitPattern: integer)) }
  }

  /// Adds an array of floating-point numbers.
  mutating func add(_ key: String, numbers: [Float]) {
    begin(key, type: 9)
    put(UInt32(6))
    put(UInt64(numbers.count))
    for number in numbers { put(number.bitPattern) }
  }

  /// Reads the tokenizer of this file.
  func tokenizer() throws -> Tokenizer {
    var header = TestVocabulary()
    header.put(UInt32(0x4655_4747))
    header.put(UInt32(3))
    header.put(UInt64(0))
    header.put(keys)
    var name = temporaryTemplate("tokenizer")
    let descriptor = mkstemp(&name)
    try #require(descriptor >= 0)
    let path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { unlink(path) }
    let bytes = header.body + body
    #expect(write(descriptor, bytes, bytes.count) == bytes.count)
    close(descriptor)
    return try Tokenizer(file: GGUFFile(path: path))
  }

  /// Begins an entry.
  private mutating func begin(_ key: String, type: UInt32) {
    keys += 1
    put(key)
    put(type)
  }

  /// Appends a string with its length.
  private mutating func put(_ text: String) {
    put(UInt64(text.utf8.count))
    body.append(contentsOf: text.utf8)
  }

  /// Appends an integer, low byte first.
  private mutating func put(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.littleEndian) { body.append(contentsOf: $0) }
  }
}
