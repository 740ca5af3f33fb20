import Tensor
import TestSupport
import Testing
import Tokenizer

/// Canonical composition of texts before they are cut (`tokenizer.ivg.normalizer`).
@Suite struct NormalizerTests {
  private static func file(
    _ normalizer: String? = "nfc", special: [(String, Int32)] = []
  ) -> TestVocabulary {
    var file = TestVocabulary(pre: "qwen2", merged: [], special: special)
    if let normalizer { file.add("tokenizer.ivg.normalizer", string: normalizer) }
    return file
  }

  /// What becomes of a text: the bytes of its tokens.
  private static func composed(_ text: [UInt8], _ tokenizer: Tokenizer) throws -> [UInt8] {
    tokenizer.decode(try tokenizer.encode(text), skipControl: false)
  }

  @Test func sameAsTokenizers() throws {
    let pairs = try JSONFixture.read("normalization.json", as: [[String]].self)
    #expect(pairs.count > 600)
    let tokenizer = try Self.file().tokenizer()
    for pair in pairs {
      let found = try Self.composed(Array(pair[0].utf8), tokenizer)
      #expect(
        found == Array(pair[1].utf8),
        "\(pair[0].unicodeScalars.map { String($0.value, radix: 16) })")
      // What is composed stays so, and so does everything in files that do not ask for it.
      #expect(try Self.composed(found, tokenizer) == found)
      for name in [nil, "none"] {
        let other = try Self.file(name).tokenizer()
        #expect(try Self.composed(Array(pair[0].utf8), other) == Array(pair[0].utf8))
      }
    }
  }

  @Test func inTheMiddleOfOtherText() throws {
    let tokenizer = try Self.file().tokenizer()
    var random = TestRandom(seed: 5)
    let plain = ["", "a", "abcdefghijklmnop ", "中文", "é", "\u{11F}", " the text  "]
    let pairs = try JSONFixture.read("normalization.json", as: [[String]].self)
    for _ in 0..<300 {
      var (text, expected) = ("", "")
      for _ in 0..<4 {
        // Between two stands what composes with nothing.
        let between = plain.randomElement(using: &random)! + "x "
        let pair = pairs.randomElement(using: &random)!
        text += pair[0] + between
        expected += pair[1] + between
      }
      #expect(try Self.composed(Array(text.utf8), tokenizer) == Array(expected.utf8))
    }
  }

  @Test func invalidBytesStay() throws {
    let tokenizer = try Self.file().tokenizer()
    let accent = Array("\u{301}".utf8)
    for bytes: [UInt8] in [[0x80], [0xFF], [0xC3], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80]] {
      let text = Array("e".utf8) + bytes + accent + Array("e".utf8) + accent + bytes
      let expected = Array("e".utf8) + bytes + accent + Array("é".utf8) + bytes
      #expect(try Self.composed(text, tokenizer) == expected)
    }
    var random = TestRandom(seed: 8)
    let parts: [[UInt8]] = [[0x65], accent, [0xCC], [0x81], [0xE1, 0x84, 0x80], [0xE1, 0x85, 0xA1], [0xFF], [0xC3, 0xA9]]
    for _ in 0..<500 {
      var text: [UInt8] = []
      for _ in 0..<12 { text += parts.randomElement(using: &random)! }
      let once = try Self.composed(text, tokenizer)
      #expect(once.filter { $0 == 0xFF } == text.filter { $0 == 0xFF })
      #expect(try Self.composed(once, tokenizer) == once)
    }
  }

  @Test func addedTokensBeforeAndBehind() throws {
    let special: [(String, Int32)] = [("<é>", 4), ("<e\u{301}>", 4), ("<n>", 4)]
    let plain = try Self.file(special: special).tokenizer()
    // Found before: as it is written.
    #expect(try plain.encode("<e\u{301}>") == [257])
    #expect(try plain.encode("<é>") == [256])
    #expect(try plain.encode("<n>\u{338}") == [258, 0xCC, 0xB8])
    var file = Self.file(special: special)
    file.add("tokenizer.ivg.normalized", integers: [256, 258])
    let normalized = try file.tokenizer()
    #expect(try normalized.encode("<e\u{301}>") == [257])
    #expect(try normalized.encode("e<é>") == [101, 256])
    // ≯ is one character: the token is not there.
    #expect(try normalized.encode("<n>\u{338}") == [60, 110, 0xE2, 0x89, 0xAF])
    #expect(try normalized.encode("<n>") == [258])
  }

  @Test func growingTexts() throws {
    var random = TestRandom(seed: 21)
    let parts = ["a", "e", " ", "\u{301}", "\u{323}", "word ", "\n", "\u{1100}", "\u{1161}", "中", "<n>", "\u{338}"].map { Array($0.utf8) } + [[0x80], [0xCC]]
    var file = Self.file(special: [("<n>", 4), ("e ", 4)])
    file.add("tokenizer.ivg.normalized", integers: [256])
    let tokenizer = try file.tokenizer()
    for _ in 0..<200 {
      var followed = FollowedText()
      var text: [UInt8] = []
      for _ in 0..<20 {
        text += parts.randomElement(using: &random)!
        _ = try followed.update(to: text, with: tokenizer)
        let whole = try tokenizer.encode(text, parseSpecial: false, addBegin: false, continues: true)
        #expect(followed.tokens == whole, "\(String(decoding: text, as: UTF8.self).debugDescription)")
      }
    }
  }

  @Test func promptAndCompletion() throws {
    let tokenizer = try Self.file(special: [("<|x|>", 3)]).tokenizer()
    let tokens = try tokenizer.encode(
      prompt: Array("<|x|>e".utf8), completion: Array("\u{301}".utf8), addBegin: false)
    #expect(tokens == [256, 0xC3, 0xA9])
  }

  @Test func wrongFiles() throws {
    #expect(throws: IVGError.self) { try Self.file("nfkc").tokenizer() }
    var pieces = TestVocabulary(pieces: [("a", 0, 1)])
    pieces.add("tokenizer.ivg.normalizer", string: "nfc")
    #expect(throws: IVGError.self) { try pieces.tokenizer() }
  }

  #if !DEBUG
    /// Composing takes about as long a character for a hundred times as many, whatever they are.
    @Test(arguments: [
      ["\u{301}"], ["\u{301}", "\u{323}"], ["e", "\u{301}", "\u{323}"], ["\u{1100}", "\u{1161}", "\u{11A8}"], ["e\u{301}\u{327}"],
      ["\u{1D160}"], ["\u{F900}", "\u{340}"], ["\u{301}", "\u{80}"],
    ])
    func linear(_ unit: [String]) throws {
      let tokenizer = try Self.file().tokenizer()
      let bytes = Array(unit.joined().utf8)
      func time(_ count: Int) throws -> Double {
        let text = Array(repeatElement(bytes, count: count / bytes.count).joined())
        return try processorTime { _ = try tokenizer.encode(text, parseSpecial: false, addBegin: false) }
      }
      _ = try time(10_000)
      let short = try (0..<5).map { _ in try time(20_000) }.min()!
      #expect(try time(2_000_000) < short * 100 * 8 + 0.05)
    }
  #endif
}
