extension Tokenizer {
  /// Where `text` may be cut at the latest so that, whatever follows, the tokens of the whole are those of
  /// the first part and then those of the rest as a text that goes on; 0 if no such place is known.
  ///
  /// A space between a letter (or such punctuation as ends words) and a letter begins a word by every rule
  /// of byte-level vocabularies. Others are not cut.
  package func lastBoundary(in text: UnsafeRawBufferPointer) -> Int {
    guard kindName == "gpt2", !userDefined.holdsSpace else { return 0 }
    var position = text.count - 2
    while position > 0 {
      if text[position] == UInt8(ascii: " "), Self.isLetter(text[position + 1]),
        Self.endsWord(text[position - 1])
      {
        return position
      }
      position -= 1
    }
    return 0
  }

  private static func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
  }

  private static func endsWord(_ byte: UInt8) -> Bool {
    isLetter(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: ",")
  }
}
