-- The rows of types_mariadb.sql again, through the binary log.
SET NAMES utf8mb4; SET time_zone='+00:00'; SET sql_mode=''; USE shop;
INSERT INTO types (id,bo,ti1,ti,tiu,si,siu,mi,miu,it,itu,bi,biu,zf,fl,fl53,flps,db,dbps,de,de0,de38,de65,deu,b1,b8,b12,b64,yr,da,tm,tm3,tm6,dt,dt3,dt6,
  ts,ts3,ts6,ch,vc,tx1,tx,tx3,tx4,bn,vb,bl1,bl,bl3,bl4,en,st,js,ge,po,ls,pg,uu,la,gb,inv,i4,i6)
SELECT id+100,bo,ti1,ti,tiu,si,siu,mi,miu,it,itu,bi,biu,zf,fl,fl53,flps,db,dbps,de,de0,de38,de65,deu,b1,b8,b12,b64,yr,da,tm,tm3,tm6,dt,dt3,dt6,
  ts,ts3,ts6,ch,vc,tx1,tx,tx3,tx4,bn,vb,bl1,bl,bl3,bl4,en,st,js,ge,po,ls,pg,uu,la,gb,inv,i4,i6 FROM types ORDER BY id;
