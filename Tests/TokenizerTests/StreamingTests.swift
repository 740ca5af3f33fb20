import Testing
import Tokenizer

/// Text that arrives in pieces: `UTF8Assembler` and `StopMatcher`.
@Suite struct StreamingTests {
  /// What the assembler makes of `pieces`.
  private func assemble(_ pieces: [[UInt8]]) -> [UInt8] {
    var assembler = UTF8Assembler()
    var output: [UInt8] = []
    for piece in pieces {
      assembler.append(piece, to: &output)
      #expect(String(validating: output, as: UTF8.self) != nil)
      #expect(assembler.heldCount <= 3)
    }
    assembler.flush(to: &output)
    return output
  }

  @Test func holdsBackIncompleteCharacters() {
    var assembler = UTF8Assembler()
    var output: [UInt8] = []
    assembler.append([0x61, 0xF0, 0x9F, 0xA6], to: &output)
    #expect(output == [0x61])
    #expect(assembler.heldCount == 3)
    assembler.append([0x99, 0x62], to: &output)
    #expect(output == Array("a🦙b".utf8))
    assembler.append([0xE2, 0x82], to: &output)
    assembler.flush(to: &output)
    #expect(output == Array("a🦙b\u{FFFD}".utf8))
    #expect(assembler.heldCount == 0)
  }

  @Test func agreesWithSwiftHoweverItIsCut() {
    var random = TestRandom(seed: 11)
    let interesting: [UInt8] = [
      0x61, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF,
      0xF0, 0xF1, 0xF4, 0xF5, 0xFF,
    ]
    for _ in 0..<5000 {
      let bytes = (0..<Int.random(in: 0...12, using: &random)).map { _ in
        interesting.randomElement(using: &random)!
      }
      let expected = Array(String(decoding: bytes, as: UTF8.self).utf8)
      #expect(assemble([bytes]) == expected)
      #expect(assemble(bytes.map { [$0] }) == expected)
    }
  }

  /// Feeds `pieces` to a matcher of `stops` and gives the last progress.
  private func match(_ stops: [String], _ pieces: [String]) throws -> StopMatcher.Progress {
    var matcher = try StopMatcher(stops: stops.map { Array($0.utf8) })
    for piece in pieces { matcher.feed(Array(piece.utf8)) }
    return matcher.progress
  }

  @Test func stopsAcrossBorders() throws {
    let stop = try match(["\n\nUser:", "</s>"], ["Hello\n", "\nUs", "er", ": hi"])
    #expect(stop == .init(safe: 5, stop: 5, stopIndex: 0))
    #expect(try match(["</s>"], ["a<", "/", "b</s"]) == .init(safe: 4, stop: nil, stopIndex: nil))
    #expect(try match(["aab"], ["aaaa", "ab"]) == .init(safe: 3, stop: 3, stopIndex: 0))
    #expect(try match([], ["abc"]) == .init(safe: 3, stop: nil, stopIndex: nil))
    #expect(try match(["", "c"], ["abc"]) == .init(safe: 2, stop: 2, stopIndex: 1))
  }

  @Test func overlappingStops() throws {
    // The first to be completed counts, of those that end together the longest.
    #expect(try match(["abcd", "bc"], ["abcd"]) == .init(safe: 1, stop: 1, stopIndex: 1))
    #expect(try match(["c", "abc"], ["xabc"]) == .init(safe: 1, stop: 1, stopIndex: 1))
    #expect(try match(["abab", "ba"], ["ab", "ab"]) == .init(safe: 1, stop: 1, stopIndex: 1))
  }

  @Test func sameOutcomeHoweverItIsCut() throws {
    var random = TestRandom(seed: 5)
    let letters = Array("ab".utf8)
    for _ in 0..<3000 {
      let stops = (0..<3).map { _ in
        (0..<Int.random(in: 1...5, using: &random)).map { _ in
          letters.randomElement(using: &random)!
        }
      }
      let text = (0..<20).map { _ in letters.randomElement(using: &random)! }
      var matcher = try StopMatcher(stops: stops)
      var cut = matcher
      matcher.feed(text)
      var shown = 0
      for byte in text {
        let progress = cut.feed([byte])
        #expect(progress.safe >= shown)
        shown = progress.safe
      }
      #expect(matcher.progress == cut.progress)
      #expect(matcher.progress == Self.naive(stops, text))
    }
  }

  @Test func finishAndReset() throws {
    var matcher = try StopMatcher(stops: [Array("stop".utf8)])
    #expect(matcher.feed(Array("no sto".utf8)).safe == 3)
    #expect(matcher.finish().safe == 6)
    matcher.reset()
    #expect(matcher.feed(Array("p".utf8)) == .init(safe: 1, stop: nil, stopIndex: nil))
    #expect(throws: (any Error).self) {
      try StopMatcher(stops: [[UInt8](repeating: 0, count: 65537)])
    }
  }

  /// The plain definition of what a matcher says at the end of `text`.
  private static func naive(_ stops: [[UInt8]], _ text: [UInt8]) -> StopMatcher.Progress {
    for end in 0...text.count {
      var best: (length: Int, index: Int)?
      for (index, stop) in stops.enumerated() where text[..<end].suffix(stop.count) == stop[...] {
        if stop.count > best?.length ?? 0 { best = (stop.count, index) }
      }
      if let best {
        return .init(safe: end - best.length, stop: end - best.length, stopIndex: best.index)
      }
    }
    var held = 0
    for stop in stops {
      for length in 1..<(stop.count + 1) where text.suffix(length) == stop[..<length] {
        held = max(held, length)
      }
    }
    return .init(safe: text.count - held, stop: nil, stopIndex: nil)
  }
}
