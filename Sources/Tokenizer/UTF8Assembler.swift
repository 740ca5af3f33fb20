/// Makes valid UTF-8 of bytes that arrive in pieces, as tokens do: whole code points come out at
/// once, an incomplete one waits for its rest.
///
/// Invalid bytes become U+FFFD, one for each maximal part of a sequence that could have been valid,
/// as the Unicode Standard recommends; so the output is the same however the input is cut. Holds at
/// most three bytes, in itself: copying it is free, and it allocates nothing. Threads: a value, one
/// owner.
package struct UTF8Assembler: Sendable {
  /// The bytes held back, the first in the low byte.
  private var held: UInt32 = 0

  /// How many bytes are held back: 0 to 3.
  package private(set) var heldCount = 0

  /// Continuation bytes still missing from the sequence that is held back.
  private var missing = 0

  /// Bounds for the next continuation byte; tighter than 80…BF after some first bytes.
  private var lower: UInt8 = 0x80
  /// See `lower`.
  private var upper: UInt8 = 0xBF

  /// Nothing held back.
  package init() {}

  /// Takes `bytes` and appends to `output` every code point that is complete now. Never fails.
  /// Grows `output` only; with capacity reserved (three times `bytes.count`, plus three) nothing is
  /// allocated.
  package mutating func append(_ bytes: some Sequence<UInt8>, to output: inout [UInt8]) {
    // Elements of a collection that another module made cost an allocation each, unless they are read
    // from its storage.
    let isTaken: Void? = bytes.withContiguousStorageIfAvailable { storage in
      for byte in storage { append(byte, to: &output) }
    }
    if isTaken == nil { for byte in bytes { append(byte, to: &output) } }
  }

  /// Ends the text: what is held back becomes one U+FFFD in `output`. Then as new.
  package mutating func flush(to output: inout [UInt8]) {
    if heldCount > 0 { replace(in: &output) }
  }

  /// Takes one byte.
  private mutating func append(_ byte: UInt8, to output: inout [UInt8]) {
    if missing > 0 {
      if byte >= lower && byte <= upper {
        (lower, upper) = (0x80, 0xBF)
        missing -= 1
        if missing > 0 {
          hold(byte)
        } else {
          emitHeld(to: &output)
          output.append(byte)
        }
        return
      }
      // The sequence breaks off here; this byte begins something new.
      replace(in: &output)
    }
    switch byte {
    case 0x00...0x7F:
      output.append(byte)
      return
    case 0xC2...0xDF: missing = 1
    case 0xE0...0xEF:
      missing = 2
      if byte == 0xE0 { lower = 0xA0 }
      if byte == 0xED { upper = 0x9F }
    case 0xF0...0xF4:
      missing = 3
      if byte == 0xF0 { lower = 0x90 }
      if byte == 0xF4 { upper = 0x8F }
    default:
      replace(in: &output)
      return
    }
    hold(byte)
  }

  /// Keeps `byte` for later.
  private mutating func hold(_ byte: UInt8) {
    held |= UInt32(byte) << UInt32(8 * heldCount)
    heldCount += 1
  }

  /// Moves what is held back to `output`.
  private mutating func emitHeld(to output: inout [UInt8]) {
    for index in 0..<heldCount {
      output.append(UInt8(truncatingIfNeeded: held >> UInt32(8 * index)))
    }
    forget()
  }

  /// Appends U+FFFD in place of what is held back, or of a byte that cannot begin anything.
  private mutating func replace(in output: inout [UInt8]) {
    output.append(0xEF)
    output.append(0xBF)
    output.append(0xBD)
    forget()
  }

  /// Back to the state at the beginning.
  private mutating func forget() {
    (held, heldCount, missing, lower, upper) = (0, 0, 0, 0x80, 0xBF)
  }
}
