import Testing
import Tokenizer

/// Special tokens written out in text.
@Suite struct SpecialTokenTests {
  /// A vocabulary of bytes and the given special tokens.
  private func tokenizer(_ special: [(String, Int32)]) throws -> Tokenizer {
    try TestVocabulary(pre: "gpt-2", merged: [], special: special).tokenizer()
  }

  @Test func controlTokensOnlyOnRequest() throws {
    let tokenizer = try tokenizer([("<|x|>", 3), ("<tool>", 4)])
    #expect(try tokenizer.encode("<|x|><tool>", parseSpecial: true) == [256, 257])
    #expect(try tokenizer.encode("<|x|><tool>") == "<|x|>".utf8.map { Int32($0) } + [257])
    #expect(tokenizer.isControl(256) && !tokenizer.isControl(257))
    #expect(tokenizer.decode([97, 256, 257], skipControl: true) == Array("a<tool>".utf8))
    #expect(tokenizer.decode([97, 256], skipControl: false) == Array("a<|x|>".utf8))
  }

  @Test func longestFirst() throws {
    let tokenizer = try tokenizer([("ab", 3), ("abc", 3), ("bcdef", 3), ("fg", 3), ("ab", 3)])
    #expect(try tokenizer.encode("abc", parseSpecial: true) == [257])
    #expect(try tokenizer.encode("abxab", parseSpecial: true) == [256, 120, 256])
    // The longest wins although it begins later; what it leaves over holds nothing.
    #expect(try tokenizer.encode("abcdef", parseSpecial: true) == [97, 258])
    #expect(try tokenizer.encode("abcdefg", parseSpecial: true) == [97, 258, 103])
    #expect(try tokenizer.encode("", parseSpecial: true) == [])
  }

  @Test func leftoversHoldShorterOnes() throws {
    let tokenizer = try tokenizer([("xa", 3), ("xab", 3), ("bcdefg", 3)])
    #expect(try tokenizer.encode("xabcdefg", parseSpecial: true) == [256, 258])
  }

  @Test func sameAsSearchingForOneAfterTheOther() throws {
    var random = TestRandom(seed: 3)
    for _ in 0..<100 {
      var texts: [String] = []
      for length in 1...6 where Bool.random(using: &random) {
        texts.append(String((0..<length).map { _ in "ab".randomElement(using: &random)! }))
      }
      let tokenizer = try tokenizer(texts.map { ($0, 3) })
      for _ in 0..<20 {
        let text = (0..<24).map { _ in "abc".randomElement(using: &random)! }
        let ids = try tokenizer.encode(String(text), parseSpecial: true)
        #expect(ids == Self.naive(texts, text), "\(texts) \(String(text))")
      }
    }
  }

  /// Replaces each of `texts` (of different lengths, shortest first) in turn, longest first.
  private static func naive(_ texts: [String], _ text: [Character]) -> [Int32] {
    var cells: [Int32?] = text.map { _ in nil }
    var covered = text.map { _ in false }
    for (index, special) in texts.enumerated().reversed() {
      var position = 0
      while position + special.count <= text.count {
        let range = position..<(position + special.count)
        if text[range].elementsEqual(special) && !covered[range].contains(true) {
          for cell in range { covered[cell] = true }
          cells[position] = Int32(256 + index)
          position += special.count
        } else {
          position += 1
        }
      }
    }
    return text.indices.compactMap { index in
      cells[index] ?? (covered[index] ? nil : Int32(text[index].asciiValue!))
    }
  }
}
