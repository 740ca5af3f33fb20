import Testing
import Tokenizer

/// Where text is cut, seen through a vocabulary that would merge across every cut.
@Suite struct PreTokenizerTests {
  /// The words of `text` by the rules called `pre`: every two neighbouring ASCII characters merge,
  /// so bytes stand alone only at cuts. Texts for this keep to words of two bytes or fewer.
  private func words(_ pre: String, _ text: String) throws -> [String] {
    let characters = Set(text.utf8).filter { $0 < 0x80 }.map { TestVocabulary.alphabet[Int($0)] }
    let merges = characters.flatMap { left in characters.map { "\(left) \($0)" } }
    return try TestVocabulary(pre: pre, merged: merges.sorted()).tokenizer().pieces(text)
  }

  @Test func gpt2() throws {
    #expect(try words("gpt-2", "ab12") == ["ab", "12"])
    #expect(try words("gpt-2", "a  b") == ["a", " ", " b"])
    #expect(try words("gpt-2", "a 1?!") == ["a", " 1", "?!"])
    #expect(try words("gpt-2", "'s'S") == ["'s", "'", "S"])
    #expect(try words("gpt-2", "a  ") == ["a", "  "])
  }

  @Test func singleDigits() throws {
    #expect(try words("smollm", "ab12") == ["ab", "1", "2"])
    #expect(try words("smollm", "a  1") == ["a", "  ", "1"])
    #expect(try words("smollm", "a 1") == ["a", " ", "1"])
  }

  @Test func llama3() throws {
    #expect(try words("qwen2", "12") == ["1", "2"])
    #expect(try words("llama-bpe", "12") == ["12"])
    #expect(try words("qwen2", "'s'S?\n") == ["'s", "'S", "?\n"])
    #expect(try words("qwen2", "\ta\na") == ["\ta", "\n", "a"])
    #expect(try words("qwen2", " \n b") == [" \n", " b"])
    #expect(try words("qwen2", "1  a") == ["1", " ", " a"])
    #expect(try words("qwen2", "(a 1") == ["(a", " ", "1"])
  }

  @Test func fallback() throws {
    #expect(try words("default", "ab12") == ["ab", "12"])
    #expect(try words("default", "a.b+c") == ["a", ".", "b", "+", "c"])
    #expect(try words("default", " 1") == [" ", "1"])
    #expect(try words("default", " a?!") == [" a", "?!"])
  }

  @Test func charactersLaterThanUnicode15AreNoLetters() throws {
    // U+139D2, a letter since Unicode 16: llama.cpp cuts before "iH", as after punctuation.
    let tokenizer = try TestVocabulary(pre: "qwen2", merged: ["( i", "i H"]).tokenizer()
    #expect(try tokenizer.pieces("\u{139D2}(iH").suffix(2) == ["(", "iH"])
    #expect(try tokenizer.pieces("\u{13000}(iH").suffix(2) == ["(i", "H"])
  }
}
