import Tensor
import TestSupport
import Testing
import Tokenizer

/// What tokens ask of the text around them; the expectations are `tokenizers`' own.
@Suite struct AddedTokenRuleTests {
  /// Bytes, and `<x>` as token 256.
  private static func file(
    _ keys: [String], kind: Int32 = 3, text: String = "<x>", name: String? = nil
  ) -> TestVocabulary {
    var file = TestVocabulary(pre: "llama-bpe", merged: [], special: [(text, kind)])
    for key in keys { file.add("tokenizer.ivg.\(key)", integers: [256]) }
    if let name { file.add("general.name", string: name) }
    return file
  }

  private static func pieces(_ text: String, _ keys: [String], token: String = "<x>") throws -> [String] {
    try file(keys, text: token).tokenizer().encode(text, parseSpecial: true).map {
      $0 == 256 ? "*" : String(decoding: [UInt8(truncatingIfNeeded: $0)], as: UTF8.self)
    }
  }

  @Test func whiteSpace() throws {
    let text = "a \n<x> \t b<x>"
    #expect(try Self.pieces(text, []).joined() == "a \n* \t b*")
    #expect(try Self.pieces(text, ["strips_right"]).joined() == "a \n*b*")
    #expect(try Self.pieces(text, ["strips_left"]).joined() == "a* \t b*")
    #expect(try Self.pieces(text, ["strips_left", "strips_right"]).joined() == "a*b*")
    #expect(try Self.pieces("  <x>  <x>  ", ["strips_left", "strips_right"]).joined() == "**")
    #expect(try Self.pieces("  <x>  <x>  ", ["strips_left"]).joined() == "**  ")
    // White space beyond ASCII counts, too.
    #expect(try Self.pieces("a\u{3000}<x>\u{A0}b", ["strips_left", "strips_right"]).joined() == "a*b")
    #expect(try Self.pieces("a\u{3000}<x>b", ["strips_left"]).joined() == "a*b")
    #expect(try Self.pieces("a<x>\u{A0} b", ["strips_right"]).joined() == "a*b")
    #expect(try Self.pieces("a\u{200B}<x>b", ["strips_left"]).count == 6)
  }

  @Test func singleWords() throws {
    for (text, expected) in [
      ("mark", "*"), ("a mark.", "a *."), ("<mark>", "<*>"), ("xmark", "xmark"), ("marks", "marks"),
      ("mark1", "mark1"), ("_mark", "_mark"), ("mark mark", "* *"), ("markmark", "markmark"),
    ] {
      #expect(try Self.pieces(text, ["single_word"], token: "mark").joined() == expected)
    }
    #expect(try Self.pieces("émark", ["single_word"], token: "mark").count == 6)
    #expect(try Self.pieces("mark\u{301}", ["single_word"], token: "mark").count == 6)
    #expect(try Self.pieces("mark…", ["single_word"], token: "mark").first == "*")
  }

  @Test func theListCountsMoreThanTheName() throws {
    let text = "<x>\n<x> a"
    func ids(_ file: TestVocabulary) throws -> [Int32] { try file.tokenizer().encode(text, parseSpecial: true) }
    #expect(try ids(Self.file([], name: "Phi-3 mini")) == [256, 256, 97])
    // By the name it is white space of ASCII.
    #expect(
      try Self.file([], name: "Phi-3 mini").tokenizer().encode("<x>\u{A0}a", parseSpecial: true)
        == [256, 0xC2, 0xA0, 97])
    #expect(try ids(Self.file([], name: "my model")) == [256, 10, 256, 32, 97])
    #expect(try ids(Self.file(["strips_right"], name: "my model")) == [256, 256, 97])
    var none = Self.file([], name: "Phi-3 mini")
    none.add("tokenizer.ivg.strips_by_name", bool: false)
    #expect(try ids(none) == [256, 10, 256, 32, 97])
    var empty = Self.file([], name: "Phi-3 mini")
    empty.add("tokenizer.ivg.strips_right", integers: [])
    #expect(try ids(empty) == [256, 10, 256, 32, 97])
  }

  @Test func promptAndCompletion() throws {
    let tokenizer = try Self.file(["strips_right"]).tokenizer()
    func encode(_ prompt: String, _ completion: String) throws -> [Int32] {
      try tokenizer.encode(prompt: Array(prompt.utf8), completion: Array(completion.utf8), addBegin: false)
    }
    #expect(try encode("<x> \n", "a") == [256, 97])
    #expect(try encode("<x> b ", "a") == [256, 98, 32, 97])
    // What the model wrote itself stays.
    #expect(try encode("<x>", " a") == [256, 32, 97])
  }

  @Test(arguments: [["strips_left"], ["strips_right"], ["single_word"], ["strips_left", "strips_right", "single_word"]])
  func growingTexts(_ keys: [String]) throws {
    let parts = ["a", " ", "  ", "b", ".", "\n", "mark", "rk", "<x>", "é", "\u{A0}", "中"].map { Array($0.utf8) }
    for text in ["<x>", "mark", " mark", "a "] {
      var pieces = TestVocabulary(pieces: [("▁", 0, 1), ("a", 0, 1), ("a▁", 1, 1), ("r", 0, 1), (text, 0, 4)])
      for key in keys { pieces.add("tokenizer.ivg.\(key)", integers: [263]) }
      for tokenizer in [try Self.file(keys, kind: 4, text: text).tokenizer(), try pieces.tokenizer()] {
        var random = TestRandom(seed: 2)
        for _ in 0..<200 {
          var followed = FollowedText()
          var grown: [UInt8] = []
          for _ in 0..<12 {
            grown += parts.randomElement(using: &random)!
            _ = try followed.update(to: grown, with: tokenizer)
            let whole = try tokenizer.encode(grown, parseSpecial: false, addBegin: false, continues: true)
            #expect(followed.tokens == whole, "\(text) \(String(decoding: grown, as: UTF8.self).debugDescription)")
          }
        }
      }
    }
  }

  @Test(arguments: ["strips_left", "strips_right", "single_word", "normalized"])
  func wrongLists(_ key: String) throws {
    for ids: [Int32] in [[257], [-1], [.max], [Int32](repeating: 0, count: 258)] {
      var file = Self.file([])
      file.add("tokenizer.ivg.\(key)", integers: ids)
      #expect { try file.tokenizer() } throws: { error in
        (error as? IVGError)?.message.contains("tokenizer.ivg.\(key)") == true
      }
    }
    var file = Self.file([])
    file.add("tokenizer.ivg.\(key)", strings: ["a"])
    #expect(throws: IVGError.self) { try file.tokenizer() }
  }
}
