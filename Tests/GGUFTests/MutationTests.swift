import GGUF
import Glibc
import Tensor
import TestSupport
import Testing

/// Damaged files: each opens or throws, and what opens can be read to the end. The damage is the
/// same in every run.
@Suite struct MutationTests {
  let temporary = TemporaryFile()

  /// Opens what the file holds now and reads all of it. Returns whether it opened.
  @discardableResult
  private func attempt() -> Bool {
    do throws(IVGError) {
      readEverything(try GGUFFile(path: temporary.path))
      return true
    } catch {
      #expect([.corruptFile, .unsupported].contains(error.kind) && !error.message.isEmpty)
      return false
    }
  }

  @Test func truncationAtEveryByte() {
    let bytes = RawGGUF.sample.bytes
    temporary.fill(bytes)
    #expect(attempt())
    for count in stride(from: bytes.count - 1, through: 0, by: -1) {
      truncate(temporary.path, off_t(count))
      #expect(!attempt(), "opened with \(count) of \(bytes.count) bytes")
    }
  }

  @Test func everyBitOfTheFront() throws {
    let bytes = RawGGUF.sample.bytes
    temporary.fill(bytes)
    let front = try GGUFFile(path: temporary.path).tensors[0].offset
    let descriptor = open(temporary.path, O_WRONLY | O_CLOEXEC)
    defer { close(descriptor) }
    for position in 0..<front {
      for bit in 0..<8 {
        var byte = bytes[position] ^ (1 << UInt8(bit))
        pwrite(descriptor, &byte, 1, off_t(position))
        attempt()
      }
      var byte = bytes[position]
      pwrite(descriptor, &byte, 1, off_t(position))
    }
    #expect(attempt())
  }

  /// 20,000 mutations of a file in chains, from a fixed seed: bytes set to telling values, numbers
  /// overwritten, pieces moved, cut and repeated.
  @Test func randomMutations() {
    var random = SplitMix(state: 2026)
    var opened = 0
    for seed in [RawGGUF.sample.bytes, small(random: &random)] {
      var bytes = seed
      for round in 0..<10_000 {
        if round % 8 == 0 { bytes = seed }
        mutate(&bytes, &random)
        temporary.fill(bytes)
        if attempt() { opened += 1 }
      }
    }
    #expect(opened > 500, "mutations that never open test little")
  }

  /// A file with one tensor and few values, whose parts are hit more often.
  private func small(random: inout SplitMix) -> [UInt8] {
    var file = RawGGUF(tensors: 1, metadata: 2)
    file.key("general.alignment", 4)
    file.number(32 as UInt32)
    file.key("k", 9)
    file.number(8 as UInt32)
    file.number(2 as UInt64)
    file.string("a")
    file.string("b")
    file.tensor("x", [4, 2], type: 1)
    file.data(64)
    return file.bytes
  }

  private func mutate(_ bytes: inout [UInt8], _ random: inout SplitMix) {
    guard bytes.count > 16 else { return }
    let position = Int.random(in: 0..<bytes.count - 8, using: &random)
    switch Int.random(in: 0..<6, using: &random) {
    case 0: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 1: bytes[position] = [0, 1, 8, 9, 12, 13, 0x7F, 0x80, 0xFF].randomElement(using: &random)!
    case 2:
      let values: [UInt64] = [
        0, 1, 0xFFFF_FFFF, 1 << 32, 1 << 62, 1 << 63, .max, .max - 7, UInt64(bytes.count),
        UInt64(bytes.count - position), UInt64(bytes.count - position - 8),
      ]
      let value = values.randomElement(using: &random)!
      for index in 0..<8 {
        bytes[position + index] = UInt8(truncatingIfNeeded: value >> (index * 8))
      }
    case 3:
      bytes.removeSubrange(position..<position + Int.random(in: 1...8, using: &random))
    case 4:
      let length = Int.random(in: 1...min(64, bytes.count - position), using: &random)
      bytes.insert(contentsOf: Array(bytes[position..<position + length]), at: position)
    default: bytes[position] = UInt8.random(in: 0...255, using: &random)
    }
  }
}

/// A small generator with a seed, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
