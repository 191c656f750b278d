module http2_go

go 1.24
