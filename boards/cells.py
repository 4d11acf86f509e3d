"""Simulation models of blocks that Yosys knows only by their ports, or has no usable model of.

Written from Lattice's documentation (ECP5: FPGA-TN-02204, FPGA-TN-02205; iCE40 UltraPlus:
FPGA-TN-02022), as far as Yosys uses the blocks: no output registers, no pre-adders, no shift
chains, no power modes, memories that start with zeros.
"""

__all__ = ["ECP5_MODELS", "ICE40_MODELS"]


def _bits(prefix: str, count: int) -> str:
    """Return ``prefix(count-1), …, prefix0``: a concatenation, or a list of ports."""
    return ", ".join(f"{prefix}{bit}" for bit in reversed(range(count)))


_MULTIPLIER = f"""
module MULT18X18D(input {_bits("A", 18)}, {_bits("B", 18)}, {_bits("C", 18)},
                  SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, output {_bits("P", 36)});
  wire signed [18:0] a = {{SIGNEDA & A17, {_bits("A", 18)}}};
  wire signed [18:0] b = {{SIGNEDB & B17, {_bits("B", 18)}}};
  wire signed [37:0] product = a * b;
  assign {{{_bits("P", 36)}}} = product[35:0];
endmodule
"""

#: A memory of 1,024 words of 18 bits, each two bytes of nine. Narrow ports address nibbles, pairs
#: and bits of the lower eight bits of a byte. In words of 18 bits the lowest address bits are byte
#: enables. 36-bit words use both ports' data pins: port A writes, port B reads.
_MEMORY = f"""
module DP16KD(input {_bits("DIA", 18)}, {_bits("ADA", 14)}, CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1,
              CSA0, {_bits("DIB", 18)}, {_bits("ADB", 14)}, CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1,
              CSB0, output {_bits("DOA", 18)}, {_bits("DOB", 18)});
  parameter DATA_WIDTH_A = 18;
  parameter DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG";
  parameter REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000";
  parameter CSDECODE_B = "0b000";
  parameter CLKAMUX = "CLKA";
  parameter CLKBMUX = "CLKB";
  parameter WRITEMODE_A = "NORMAL";
  parameter WRITEMODE_B = "NORMAL";
  parameter GSR = "AUTO";
{"".join(f"  parameter [319:0] INITVAL_{index:02X} = 320'b0;" + chr(10) for index in range(64))}
  reg [17:0] memory [0:1023];
  integer place;
  initial for (place = 0; place < 1024; place = place + 1) memory[place] = 18'b0;
  reg [17:0] qa = 18'b0, qb = 18'b0;
  wire [13:0] ada = {{{_bits("ADA", 14)}}}, adb = {{{_bits("ADB", 14)}}};
  wire [17:0] dia = {{{_bits("DIA", 18)}}}, dib = {{{_bits("DIB", 18)}}};
  wire [9:0] worda = DATA_WIDTH_A == 36 ? {{ada[13:5], 1'b0}} : ada[13:4];
  wire [9:0] wordb = DATA_WIDTH_B == 36 ? {{adb[13:5], 1'b0}} : adb[13:4];
  wire [17:0] maska, maskb;
  wire [4:0] lowa, lowb;
  smartdeal_place #(.WIDTH(DATA_WIDTH_A)) pa(.address(ada[3:0]), .low(lowa), .mask(maska));
  smartdeal_place #(.WIDTH(DATA_WIDTH_B)) pb(.address(adb[3:0]), .low(lowb), .mask(maskb));
  always @(posedge CLKA) if (CEA) begin
    if (WEA) begin
      memory[worda] <= (memory[worda] & ~maska) | ((dia << lowa) & maska);
      if (DATA_WIDTH_A == 36)
        memory[worda | 10'd1] <= (memory[worda | 10'd1] & ~{{{{9{{ada[3]}}}}, {{9{{ada[2]}}}}}})
                                 | (dib & {{{{9{{ada[3]}}}}, {{9{{ada[2]}}}}}});
    end
    if (RSTA) qa <= 18'b0;
    else if (!WEA) qa <= memory[worda] >> lowa;
    else if (WRITEMODE_A == "READBEFOREWRITE") qa <= memory[worda] >> lowa;
    else if (WRITEMODE_A == "WRITETHROUGH")
      qa <= ((memory[worda] & ~maska) | ((dia << lowa) & maska)) >> lowa;
  end
  always @(posedge CLKB) if (CEB) begin
    if (WEB) memory[wordb] <= (memory[wordb] & ~maskb) | ((dib << lowb) & maskb);
    if (RSTB) qb <= 18'b0;
    else if (DATA_WIDTH_B == 36) qb <= memory[wordb | 10'd1];
    else if (!WEB) qb <= memory[wordb] >> lowb;
    else if (WRITEMODE_B == "READBEFOREWRITE") qb <= memory[wordb] >> lowb;
    else if (WRITEMODE_B == "WRITETHROUGH")
      qb <= ((memory[wordb] & ~maskb) | ((dib << lowb) & maskb)) >> lowb;
  end
  reg [17:0] lower = 18'b0;
  always @(posedge CLKB) if (CEB) lower <= RSTB ? 18'b0 : memory[wordb];
  assign {{{_bits("DOA", 18)}}} = DATA_WIDTH_B == 36 ? lower : qa;
  assign {{{_bits("DOB", 18)}}} = qb;
endmodule

module smartdeal_place(input [3:0] address, output [4:0] low, output [17:0] mask);
  parameter WIDTH = 18;
  wire [4:0] nine = address[3] ? 5'd9 : 5'd0;
  wire [1:0] bytes = address[1:0];
  assign low = WIDTH >= 18 ? 5'd0 : nine + (WIDTH <= 4 ? {{2'b0, address[2], 2'b0}} : 5'd0)
                                       + (WIDTH <= 2 ? {{3'b0, address[1], 1'b0}} : 5'd0)
                                       + (WIDTH <= 1 ? {{4'b0, address[0]}} : 5'd0);
  wire [17:0] ones = WIDTH == 1 ? 18'h1 : WIDTH == 2 ? 18'h3 : WIDTH == 4 ? 18'hF : 18'h1FF;
  assign mask = WIDTH >= 18 ? {{{{9{{bytes[1]}}}}, {{9{{bytes[0]}}}}}} : ones << low;
endmodule
"""

ECP5_MODELS = _MULTIPLIER + _MEMORY

#: After a write the output is what nobody may rely on.
ICE40_MODELS = """
module SB_SPRAM256KA(input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN,
                     input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF,
                     output reg [15:0] DATAOUT);
  reg [15:0] memory [0:16383];
  wire [15:0] mask = {{4{MASKWREN[3]}}, {4{MASKWREN[2]}}, {4{MASKWREN[1]}}, {4{MASKWREN[0]}}};
  wire on = CHIPSELECT & ~STANDBY & ~SLEEP & POWEROFF;
  always @(posedge CLOCK) if (on) begin
    if (WREN) memory[ADDRESS] <= (memory[ADDRESS] & ~mask) | (DATAIN & mask);
    DATAOUT <= WREN ? ~DATAIN : memory[ADDRESS];
  end
endmodule
"""
