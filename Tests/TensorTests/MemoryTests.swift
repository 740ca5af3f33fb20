import Tensor
import Testing

/// Buffers and views: sizes are checked, nothing aborts.
@Suite struct MemoryTests {
  @Test func buffers() throws {
    let buffer = try AlignedBuffer<Float>(count: 1001)
    #expect(Int(bitPattern: buffer.pointer) % 64 == 0)
    #expect(buffer.elements.allSatisfy { $0 == 0 })
    buffer[1000] = 7
    #expect(buffer[1000] == 7 && buffer.count == 1001)
    #expect(try AlignedBuffer<Float>(count: 0).count == 0)
    for count in [Int.max, Int.max / 4, -1, 1 << 60] {
      #expect(throws: IVGError.self) { try AlignedBuffer<Float>(count: count) }
    }
  }

  @Test func views() throws {
    let bytes = [UInt8](repeating: 0, count: 17 * 2 * 34)
    try bytes.withUnsafeBytes { bytes in
      let w = try WeightMatrix(type: .q8_0, data: bytes, outputs: 17, columns: 64)
      #expect(w.rowBytes == 68 && w.tiles == 2)
      for (outputs, columns) in [
        (18, 64), (17, 96), (17, 63), (0, 64), (17, 0), (-1, -32), (Int.max, 64),
        (1, Int.max / 32 * 32),
      ] {
        #expect(throws: IVGError.self) {
          try WeightMatrix(type: .q8_0, data: bytes, outputs: outputs, columns: columns)
        }
      }
    }
  }

  @Test func tables() {
    #expect(Kernels.named("portable") != nil && Kernels.named("abacus") == nil)
    #expect(Kernels.available.contains { $0.name == Kernels.current.name })
  }
}
